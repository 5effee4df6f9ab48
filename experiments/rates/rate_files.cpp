#include "experiments/rates/rate_files.hpp"

#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/sha256.hpp"
#include "core/partition/partition_file.hpp"
#include "experiments/records/program_version.hpp"
#include "experiments/sweeps/training_oracle.hpp"
#include "experiments/training/found_on.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// Those of the measurement, and those of the trials.
std::vector<std::int64_t> seeds_of(const ResolvedRateSearch& search) {
  const auto& config = search.config.search_lr;
  std::set<std::int64_t> all;
  if (config.method != "coordinate") all.insert(search.config.seed);
  if (config.by_trials()) {
    for (const auto seed : seed_range(1, config.trial_seeds)) all.insert(seed);
  }
  return {all.begin(), all.end()};
}

std::string keep(const ResolvedRateSearch& search, const std::string& text) {
  const auto path =
      fs::path(search.config.output) / "trials/files" / (sha256(text).substr(0, 16) + ".yaml");
  fs::create_directories(path.parent_path());
  if (!input_exists(path)) write_file_atomically(path, text);
  return path.string();
}

// One rate per target of a section, `typical` where a target has none.
SectionRates section_rates(const std::vector<RateInterval>& found, double typical) {
  SectionRates section;
  section.rate.clear();
  for (auto rate : found) {
    if (!(rate.value > 0.0)) rate = {typical, 0.0, typical};
    section.rate.push_back(rate.value);
    section.low.push_back(rate.low);
    section.high.push_back(rate.high);
  }
  return section;
}

double typical_of(const std::vector<RateInterval>& found) {
  std::vector<double> values;
  for (const auto& rate : found) values.push_back(rate.value);
  return typical_rate(values);
}

}  // namespace

BlockRates block_rates(const ResolvedRateSearch& search,
                       const std::vector<MeasuredRate>& measured) {
  const bool by_curvature = search.config.search_lr.method == "curvature";
  std::map<std::pair<std::size_t, std::size_t>, std::vector<RateInterval>> by_section;
  std::vector<RateInterval> all;
  for (std::size_t i = 0; i < search.targets.size(); ++i) {
    all.push_back(by_curvature ? measured[i].curvature : measured[i].mean_v);
    by_section[{search.targets[i].tensor, search.targets[i].section}].push_back(all.back());
  }
  auto rates = BlockRates::ones(search.partition);
  rates.learning_rate = 1.0;
  const double of_model = typical_of(all);
  for (const auto& [place, found] : by_section) {
    const double of_section = typical_of(found);
    rates.tensors[place.first][place.second] =
        section_rates(found, of_section > 0.0 ? of_section : of_model);
  }
  return rates;
}

BlockRates times_rate_of_run(const ResolvedRateSearch& search, BlockRates rates) {
  rates.learning_rate = search.config.optimizer.learning_rate;
  return rates;
}

std::string write_rates(const ResolvedRateSearch& search, const Partition& partition,
                        BlockRates rates) {
  const auto& config = search.config;
  rates.provenance = {{"program", program_version()},
                      {"configuration", search.hash},
                      {"method", config.search_lr.method},
                      {"model", config.model.from.empty() ? "fresh" : "trained"},
                      {kFoundOnKey, seeds_text(seeds_of(search))}};
  if (config.search_lr.needs_gradients()) {
    rates.provenance.emplace_back("second_moment", moment_text(search.moment_batches));
  }
  const auto path = fs::path(config.output) / "rates.yaml";
  write_file_atomically(path, block_rates_text(search.layout, partition, rates));
  return path.string();
}

Arm rates_arm(const ResolvedRateSearch& search, const Partition& partition,
              const BlockRates& rates) {
  auto config = trial_run(search.config, search.config.search_lr.trial_steps);
  const auto text = block_rates_text(search.layout, partition, times_rate_of_run(search, rates));
  config.optimizer.block_lr = keep(search, text);
  config.optimizer.partition = {};
  config.optimizer.partition.file =
      keep(search, partition_text(search.layout, {partition, {}, {}, {}}));
  return {sha256(text).substr(0, 12), config};
}

}  // namespace blockwise
