#include "experiments/rate_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "core/device.hpp"
#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/folder_lock.hpp"
#include "core/io/sha256.hpp"
#include "core/memory_meter.hpp"
#include "core/partition_file.hpp"
#include "core/random_stream.hpp"
#include "experiments/config_text.hpp"
#include "experiments/hessian_batches.hpp"
#include "experiments/provenance.hpp"

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

  RateSearchOutcome run(const std::string& program, std::int64_t jobs) {
    if (c_.method != "coordinate" && !measure()) return std::move(outcome_);
    PairedTrials trials(folder_ / "trials", {program, jobs, c_.max_trials, c_.trial_seeds});
    auto result = Result::measured;
    if (c_.method == "coordinate") result = coordinate(trials);
    if (c_.method == "leave_out") result = leave_out(trials);
    if (result == Result::stopped) return std::move(outcome_);
    outcome_.exhausted = result == Result::exhausted;
    if (!c_.by_trials()) write(s_.partition, measured_rates());
    write_file_atomically(folder_ / "rates.csv", table());
    fs::remove(folder_ / "samples.txt");
    outcome_.finished = true;
    return std::move(outcome_);
  }

 private:
  bool measure() {
    const RateMeasurement what{s_.config, s_.layout, *s_.data, (folder_ / "samples.txt").string(),
                               s_.hash};
    auto measured = measure_rates(what, s_.targets,
                                  [&](const std::string& place) { observe_(++done_, place); });
    outcome_.measured = std::move(measured.rates);
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
                        {"model", s_.config.model.from.empty() ? "fresh" : "trained"}};
    const auto path = folder_ / "rates.yaml";
    write_file_atomically(path, block_rates_text(s_.layout, partition, rates));
    outcome_.file = path.string();
  }

  // ---- trials

  // Files of a trial are named by their content, so that equal ones are one arm.
  std::string keep(const std::string& text) const {
    const auto path = folder_ / "trials/files" / (sha256(text).substr(0, 16) + ".yaml");
    fs::create_directories(path.parent_path());
    if (!fs::exists(path)) write_file_atomically(path, text);
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
        s_.partition, rate_groups(s_.layout, s_.partition, c_.groups), c_.factors(), c_.passes,
        [&](const BlockRates& rates) { return arm(s_.partition, with_rate(rates)); }, trials);
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
      if (!is_vector(section_of(t))) left.push_back(t);
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

  const PartitionSection& section_of(std::size_t target) const {
    return s_.partition.tensors()[s_.targets[target].tensor].sections[s_.targets[target].section];
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

  // ---- the table

  std::string table() const {
    if (c_.method == "coordinate") return groups_table();
    if (c_.method == "leave_out") return left_out_table();
    return targets_table();
  }

  std::string targets_table() const {
    std::string out =
        "tensor,role,layer,section,block,elements,curvature,curvature_low,curvature_high,"
        "largest,smallest,products,mean_v,mean_v_low,mean_v_high\n";
    for (std::size_t t = 0; t < s_.targets.size(); ++t) {
      const auto& target = s_.targets[t];
      const auto& r = outcome_.measured[t];
      const auto& block = s_.layout.blocks()[target.tensor];
      out += fmt::format(
          "{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{},{:.6g},{:.6g},"
          "{:.6g}\n",
          block.name, role_name(section_of(t).role), block.layer, target.section, target.block,
          target.index.numel(), r.curvature.value, r.curvature.low, r.curvature.high, r.largest,
          r.smallest, r.products, r.mean_v.value, r.mean_v.low, r.mean_v.high);
    }
    return out;
  }

  std::string groups_table() const {
    std::string out = "group,factor,best,low,high,difference,half_width,p_value,taken\n";
    for (const auto& g : outcome_.groups) {
      const auto test = g.test.value_or(PairedTest{});
      out += fmt::format("{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n", g.group.name,
                         g.factor, g.best.value, g.best.low, g.best.high, test.difference.mean,
                         test.difference.half_width.value_or(NAN), test.p_value.value_or(NAN),
                         g.taken ? 1 : 0);
    }
    return out;
  }

  std::string left_out_table() const {
    std::string out =
        "left_out,sections,rate,low,high,mean_v,curvature,difference,half_width,p_value,at_end\n";
    for (const auto& l : outcome_.left_out) {
      std::string names;
      for (const auto t : l.targets) {
        names += fmt::format("{}{}:{}", names.empty() ? "" : " ",
                             s_.layout.blocks()[s_.targets[t].tensor].name,
                             role_name(section_of(t).role));
      }
      out += fmt::format("{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n",
                         l.targets.size(), names, l.rate.value, l.rate.low, l.rate.high, l.mean_v,
                         l.curvature, l.to_adamw.difference.mean,
                         l.to_adamw.difference.half_width.value_or(NAN),
                         l.to_adamw.p_value.value_or(NAN), l.at_end ? 1 : 0);
    }
    return out;
  }

  const ResolvedRateSearch& s_;
  const RateSearchConfig& c_;
  const std::function<void(std::int64_t, const std::string&)>& observe_;
  fs::path folder_;
  std::int64_t done_ = 0;
  RateSearchOutcome outcome_;
};

}  // namespace

ResolvedRateSearch resolve_rate_search(RunConfig config) {
  require_input(config.optimizer.spec->uses_partition(),
                "search-lr: optimizer.rule '{}' has no partition whose blocks could have rates; "
                "--set optimizer.rule=adam_mini or blockwise_sgd",
                config.optimizer.rule);
  ResolvedRateSearch search;
  search.data = config.data.spec->open(static_cast<std::uint64_t>(config.seed));
  config.model.spec->adapt_to(search.data->shape());
  search.layout = config.model.spec->layout();
  search.partition = config.optimizer.make_partition(search.layout);
  const auto& c = config.search_lr;
  const auto& h = config.hessian;
  require_input(c.method != "leave_out" || config.optimizer.rule == "adam_mini",
                "search_lr.method leave_out trains with AdamW beside what is left out: "
                "optimizer.rule is to be adam_mini, not '{}'",
                config.optimizer.rule);
  search.targets = rate_targets(search.partition, c.by_trials() ? "section" : c.per);
  for (const auto& target : search.targets) {
    search.products += std::min<std::int64_t>(c.products, target.index.numel()) * c.samples;
  }
  if (!c.needs_products()) search.products = 0;
  search.units = (c.needs_products() ? std::ssize(search.targets) * c.samples : 0) +
                 (c.needs_gradients() ? std::max<std::int64_t>(1, c.gradient_batches / 4) * 4 : 0);
  search.memory =
      product_memory(*config.model.spec, h.dtype(), hessian_batch_shape(h, *search.data, h.dtype()),
                     h.batches, h.product_method(), h.curvature_kind());
  const auto available = available_bytes(resolve_device(config.trainer.device));
  require_input(!c.needs_products() || available == 0 || search.memory.peak <= available,
                "search-lr: this takes {:.2f} GiB, {:.2f} GiB are available. Smaller: "
                "hessian.batches or batch_size, method fresh_graph or finite_difference",
                double(search.memory.peak) / double(1 << 30), double(available) / double(1 << 30));
  search.hash = config_hash(config);
  search.config = std::move(config);
  return search;
}

RateSearchOutcome search_rates(
    const ResolvedRateSearch& search, const std::string& program, std::int64_t jobs,
    const std::function<void(std::int64_t, const std::string&)>& observe) {
  fs::create_directories(search.config.output);
  const FolderLock lock(search.config.output);
  write_file_atomically(fs::path(search.config.output) / "config.yaml", to_yaml(search.config));
  set_threads(search.config.trainer.threads);
  return RateSearch(search, observe).run(program, jobs);
}

namespace {

std::string interval_text(const RateInterval& e) {
  return e.value > 0.0 ? fmt::format("{:>9.3g} [{:.3g}, {:.3g}]", e.value, e.low, e.high) : "-";
}

std::string difference_text(const PairedTest& test) {
  const auto width = test.difference.half_width;
  return fmt::format("{:+.4f}{}", test.difference.mean,
                     width ? fmt::format(" ± {:.4f}", *width) : "");
}

std::string measured_report(const ResolvedRateSearch& s, const RateSearchOutcome& outcome) {
  std::string out = fmt::format("{:<36} {:<18} {:>6}  {:<28} {:<28}\n", "tensor", "role", "block",
                                "best rate, curvature", "implied by mean(v)");
  constexpr std::size_t kMostLines = 60;
  for (std::size_t t = 0; t < std::min(kMostLines, s.targets.size()); ++t) {
    const auto& target = s.targets[t];
    const auto& section = s.partition.tensors()[target.tensor].sections[target.section];
    out += fmt::format(
        "{:<36} {:<18} {:>6}  {:<28} {:<28}\n", s.layout.blocks()[target.tensor].name,
        role_name(section.role), target.block < 0 ? "all" : fmt::format("{}", target.block),
        interval_text(outcome.measured[t].curvature), interval_text(outcome.measured[t].mean_v));
  }
  if (s.targets.size() > kMostLines) {
    out += fmt::format("and {} more, in rates.csv\n", s.targets.size() - kMostLines);
  }
  return out;
}

std::string groups_report(const RateSearchOutcome& outcome) {
  std::string out = fmt::format("{:<22} {:>7}  {:<28} {}\n", "group", "factor", "lowest loss at",
                                "difference, nats");
  for (const auto& g : outcome.groups) {
    out += fmt::format("{:<22} {:>7.3g}  {:<28} {}\n", g.group.name, g.factor,
                       interval_text(g.best), g.test ? difference_text(*g.test) : "not reached");
  }
  return out;
}

std::string left_out_report(const ResolvedRateSearch& s, const RateSearchOutcome& outcome) {
  std::string out = fmt::format("{:<9} {:<28} {:>9} {:>10} {:<22} {}\n", "left out",
                                "searched rate", "mean(v)", "curvature", "loss - AdamW's", "what");
  for (const auto& l : outcome.left_out) {
    std::string names;
    for (const auto t : l.targets) {
      const auto& target = s.targets[t];
      names +=
          fmt::format("{}{} {}", names.empty() ? "" : ", ",
                      role_name(s.partition.tensors()[target.tensor].sections[target.section].role),
                      s.layout.blocks()[target.tensor].layer);
    }
    out += fmt::format("{:<9} {:<28} {:>9.3g} {:>10.3g} {:<22} {}{}\n", l.targets.size(),
                       interval_text(l.rate), l.mean_v, l.curvature, difference_text(l.to_adamw),
                       names, l.at_end ? "; the best is at the grid's end" : "");
  }
  return out;
}

}  // namespace

std::string rate_report(const ResolvedRateSearch& search, const RateSearchOutcome& outcome) {
  const auto& method = search.config.search_lr.method;
  if (method == "coordinate") return groups_report(outcome);
  if (method == "leave_out") return left_out_report(search, outcome);
  return measured_report(search, outcome);
}

}  // namespace blockwise
