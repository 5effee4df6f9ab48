#include "experiments/rates/rate_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/output_folder.hpp"
#include "core/io/sha256.hpp"
#include "core/memory/device.hpp"
#include "core/partition/partition_file.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/rates/rate_report.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/sweeps/training_oracle.hpp"
#include "experiments/training/found_on.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Result = PairedTrials::Result;

bool is_vector(const PartitionSection& section) { return section.columns == 1; }

class RateSearch {
 public:
  RateSearch(const ResolvedRateSearch& search,
             const std::function<void(std::int64_t, const std::string&)>& observe)
      : s_(search), c_(search.config.search_lr), observe_(observe), folder_(search.config.output) {}

  RateSearchOutcome run(LossOracle& oracle) {
    if (c_.method != "coordinate" && !measure()) return std::move(outcome_);
    PairedTrials trials(oracle, {c_.max_trials, c_.trial_seeds});
    auto result = Result::measured;
    if (c_.method == "coordinate") result = coordinate(trials);
    if (c_.method == "leave_out") result = leave_out(trials);
    if (result == Result::stopped) return std::move(outcome_);
    outcome_.exhausted = result == Result::exhausted;
    if (!c_.by_trials()) write(s_.partition, measured_rates());
    write_file_atomically(folder_ / "rates.csv", rate_table(s_, outcome_));
    for (const auto* name : {"samples.txt", "products.bin"}) fs::remove(folder_ / name);
    outcome_.finished = true;
    return std::move(outcome_);
  }

 private:
  bool measure() {
    const RateMeasurement what{s_.config,
                               s_.layout,
                               *s_.data,
                               (folder_ / "samples.txt").string(),
                               (folder_ / "products.bin").string(),
                               s_.hash,
                               s_.moment_batches};
    auto measured = measure_rates(what, s_.targets,
                                  [&](const std::string& place) { observe_(++done_, place); });
    outcome_.measured = std::move(measured.rates);
    outcome_.left_out_batches = measured.left_out_batches;
    return measured.finished;
  }

  RateInterval chosen(const MeasuredRate& rate) const {
    return c_.method == "curvature" ? rate.curvature : rate.mean_v;
  }

  // Geometric mean of the rates that are there, of a tensor's or of all.
  double typical(const std::vector<std::size_t>& targets,
                 const std::function<double(const MeasuredRate&)>& rate) const {
    double sum = 0.0;
    int count = 0;
    for (const auto t : targets) {
      const double value = rate(outcome_.measured[t]);
      if (!(value > 0.0)) continue;
      sum += std::log(value);
      ++count;
    }
    return count == 0 ? 0.0 : std::exp(sum / count);
  }

  // A block without curvature, or without a gradient, has no best rate and does not move: it gets
  // the typical one of its section, or of the model.
  BlockRates measured_rates() const {
    auto rates = BlockRates::ones(s_.partition);
    rates.learning_rate = 1.0;
    std::map<std::pair<std::size_t, std::size_t>, std::vector<std::size_t>> by_section;
    std::vector<std::size_t> all;
    for (std::size_t t = 0; t < s_.targets.size(); ++t) {
      by_section[{s_.targets[t].tensor, s_.targets[t].section}].push_back(t);
      all.push_back(t);
    }
    const auto value = [&](const MeasuredRate& r) { return chosen(r).value; };
    const double of_model = typical(all, value);
    for (const auto& [place, targets] : by_section) {
      const double of_section = typical(targets, value);
      auto& section = rates.tensors[place.first][place.second];
      section = {};
      section.rate.clear();
      for (const auto t : targets) {
        auto e = chosen(outcome_.measured[t]);
        if (!(e.value > 0.0)) {
          const double typical_rate = of_section > 0.0 ? of_section : of_model;
          e = {typical_rate, 0.0, typical_rate};
        }
        section.rate.push_back(e.value);
        section.low.push_back(e.low);
        section.high.push_back(e.high);
      }
    }
    return rates;
  }

  void write(const Partition& partition, BlockRates rates) {
    rates.provenance = {{"program", program_version()},
                        {"configuration", s_.hash},
                        {"method", c_.method},
                        {"model", s_.config.model.from.empty() ? "fresh" : "trained"},
                        {kFoundOnKey, seeds_text(seeds())}};
    if (c_.needs_gradients()) {
      rates.provenance.emplace_back("second_moment", moment_text(s_.moment_batches));
    }
    const auto path = folder_ / "rates.yaml";
    write_file_atomically(path, block_rates_text(s_.layout, partition, rates));
    outcome_.file = path.string();
  }

  // Those of the measurement, and those of the trials.
  std::vector<std::int64_t> seeds() const {
    std::set<std::int64_t> all;
    if (c_.method != "coordinate") all.insert(s_.config.seed);
    if (c_.by_trials()) {
      for (const auto seed : seed_range(1, c_.trial_seeds)) all.insert(seed);
    }
    return {all.begin(), all.end()};
  }

  // ---- trials

  // Files of a trial are named by their content, so that equal ones are one arm.
  std::string keep(const std::string& text) const {
    const auto path = folder_ / "trials/files" / (sha256(text).substr(0, 16) + ".yaml");
    fs::create_directories(path.parent_path());
    if (!input_exists(path)) write_file_atomically(path, text);
    return path.string();
  }

  Arm arm(const Partition& partition, const BlockRates& rates) const {
    auto config = trial_run(s_.config, c_.trial_steps);
    const auto text = block_rates_text(s_.layout, partition, rates);
    config.optimizer.block_lr = keep(text);
    config.optimizer.partition = {};
    config.optimizer.partition.file = keep(partition_text(s_.layout, {partition, {}, {}, {}}));
    return {sha256(text).substr(0, 12), config};
  }

  Result coordinate(PairedTrials& trials) {
    auto found = coordinate_search(
        {s_.partition, rate_groups(s_.layout, s_.partition, c_.groups), c_.factors(), c_.passes,
         [&](const BlockRates& rates) { return arm(s_.partition, with_rate(rates)); }},
        trials);
    outcome_.groups = std::move(found.groups);
    if (found.result != Result::stopped) {
      write(s_.partition, with_rate(rates_of(s_.partition, outcome_.groups)));
    }
    return found.result;
  }

  BlockRates with_rate(BlockRates rates) const {
    rates.learning_rate = s_.config.optimizer.learning_rate;
    return rates;
  }

  // `count` sections of matrices, other ones for every count.
  std::vector<std::size_t> pick(std::int64_t count) const {
    std::vector<std::size_t> left;
    for (std::size_t t = 0; t < s_.targets.size(); ++t) {
      if (!is_vector(section_of(s_.partition, s_.targets[t]))) left.push_back(t);
    }
    require_input(count <= std::ssize(left), "search_lr.left_out: {} of {} sections of matrices",
                  count, left.size());
    const auto stream = stream_seed(static_cast<std::uint64_t>(c_.seed), RandomStream::sampling,
                                    std::uint64_t{1} << 40, std::uint64_t(count));
    std::vector<std::size_t> picked;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = uniform_index(stream, std::uint64_t(i), left.size());
      picked.push_back(left[at]);
      left.erase(left.begin() + std::ptrdiff_t(at));
    }
    std::ranges::sort(picked);
    return picked;
  }

  // One value per element, none in the targets.
  Partition without_moments(const std::vector<std::size_t>& targets) const {
    auto tensors = s_.partition.tensors();
    for (auto& tensor : tensors) {
      for (auto& section : tensor.sections) section.structure = Structure::per_element();
    }
    for (const auto t : targets) {
      auto& section = tensors[s_.targets[t].tensor].sections[s_.targets[t].section];
      section.structure = Structure::none(section.rows, section.columns);
    }
    return Partition(s_.layout, "left out", std::move(tensors));
  }

  Result leave_out(PairedTrials& trials) {
    for (const auto count : c_.left_out) {
      const auto result = leave_out(trials, pick(count));
      if (result != Result::measured) return result;
    }
    return Result::measured;
  }

  BlockRates rate_for(const Partition& partition, const std::vector<std::size_t>& targets,
                      const RateInterval& rate) const {
    auto rates = with_rate(BlockRates::ones(partition));
    for (const auto t : targets) {
      auto& section = rates.tensors[s_.targets[t].tensor][s_.targets[t].section];
      section = {{rate.value / rates.learning_rate},
                 {rate.low / rates.learning_rate},
                 {rate.high / rates.learning_rate}};
    }
    return rates;
  }

  Result leave_out(PairedTrials& trials, const std::vector<std::size_t>& targets) {
    LeftOut found;
    found.targets = targets;
    found.mean_v = typical(targets, [](const MeasuredRate& r) { return r.mean_v.value; });
    found.curvature = typical(targets, [](const MeasuredRate& r) { return r.curvature.value; });
    const auto adamw = without_moments({});
    const auto partition = without_moments(targets);
    std::vector<double> grid;
    for (const double factor : c_.factors()) grid.push_back(found.mean_v * factor);
    const auto best =
        search_grid(trials, arm(adamw, with_rate(BlockRates::ones(adamw))), grid, [&](double rate) {
          return arm(partition, rate_for(partition, targets, {rate, rate, rate}));
        });
    if (best.result != Result::measured) return best.result;
    found.rate = best.value;
    found.to_adamw = best.to_baseline;
    found.at_end = best.at_end;
    outcome_.left_out.push_back(found);
    write(partition, rate_for(partition, targets, found.rate));
    write_file_atomically(folder_ / "partition.yaml",
                          partition_text(s_.layout, {partition, {}, {}, {}}));
    return Result::measured;
  }

  const ResolvedRateSearch& s_;
  const RateSearchConfig& c_;
  const std::function<void(std::int64_t, const std::string&)>& observe_;
  fs::path folder_;
  std::int64_t done_ = 0;
  RateSearchOutcome outcome_;
};

}  // namespace

RateSearchOutcome search_rates(
    const ResolvedRateSearch& search, LossOracle& oracle,
    const std::function<void(std::int64_t, const std::string&)>& observe) {
  const OutputFolder taken(search.config.output);
  write_file_atomically(fs::path(search.config.output) / "config.yaml", to_yaml(search.config));
  set_threads(search.config.trainer.threads);
  return RateSearch(search, observe).run(oracle);
}

}  // namespace blockwise
