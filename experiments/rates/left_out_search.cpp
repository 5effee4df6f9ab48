#include "experiments/rates/left_out_search.hpp"

#include <algorithm>
#include <filesystem>

#include "core/base/random_stream.hpp"
#include "core/io/atomic_file.hpp"
#include "core/partition/partition_file.hpp"
#include "experiments/rates/rate_files.hpp"

namespace blockwise {
namespace {

using Targets = std::vector<std::size_t>;

// Picks are numbers of the stream of samples that no example has.
constexpr std::uint64_t kPicks = std::uint64_t{1} << 40;

Targets pick_targets(const ResolvedRateSearch& search, std::int64_t count) {
  auto left = matrix_targets(search.partition, search.targets);
  const auto stream =
      stream_seed(static_cast<std::uint64_t>(search.config.search_lr.seed), RandomStream::sampling,
                  kPicks, static_cast<std::uint64_t>(count));
  Targets picked;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = uniform_index(stream, static_cast<std::uint64_t>(i), left.size());
    picked.push_back(left[at]);
    left.erase(left.begin() + std::ptrdiff_t(at));
  }
  std::ranges::sort(picked);
  return picked;
}

// One value per element, none in the targets.
Partition without_moments(const ResolvedRateSearch& search, const Targets& targets) {
  auto tensors = search.partition.tensors();
  for (auto& tensor : tensors) {
    for (auto& section : tensor.sections) section.structure = Structure::per_element();
  }
  for (const auto i : targets) {
    const auto& target = search.targets[i];
    auto& section = tensors[target.tensor].sections[target.section];
    section.structure = Structure::none(section.rows, section.columns);
  }
  return Partition(search.layout, "left out", std::move(tensors));
}

// The run's own rate everywhere but in the targets.
BlockRates rates_with(const ResolvedRateSearch& search, const Partition& partition,
                      const Targets& targets, const RateInterval& rate) {
  auto rates = times_rate_of_run(search, BlockRates::ones(partition));
  for (const auto i : targets) {
    const auto& target = search.targets[i];
    rates.tensors[target.tensor][target.section] = {{rate.value / rates.learning_rate},
                                                    {rate.low / rates.learning_rate},
                                                    {rate.high / rates.learning_rate}};
  }
  return rates;
}

LeftOut measured_of(Targets targets, const std::vector<MeasuredRate>& measured) {
  std::vector<double> mean_v, curvature;
  for (const auto i : targets) {
    mean_v.push_back(measured[i].mean_v.value);
    curvature.push_back(measured[i].curvature.value);
  }
  LeftOut left_out;
  left_out.targets = std::move(targets);
  left_out.mean_v = typical_rate(mean_v);
  left_out.curvature = typical_rate(curvature);
  return left_out;
}

}  // namespace

LeftOutOutcome search_left_out(const ResolvedRateSearch& search, std::int64_t count,
                               const std::vector<MeasuredRate>& measured, PairedTrials& trials) {
  LeftOutOutcome outcome;
  auto& left_out = outcome.left_out;
  left_out = measured_of(pick_targets(search, count), measured);
  const auto adamw = without_moments(search, {});
  const auto partition = without_moments(search, left_out.targets);
  std::vector<double> grid;
  for (const double factor : search.config.search_lr.factors()) {
    grid.push_back(left_out.mean_v * factor);
  }
  const auto found = search_grid(
      trials, rates_arm(search, adamw, BlockRates::ones(adamw)), grid, [&](double rate) {
        const auto rates = rates_with(search, partition, left_out.targets, {rate, rate, rate});
        return rates_arm(search, partition, rates);
      });
  outcome.result = found.result;
  left_out.rate = found.value;
  left_out.to_adamw = found.to_baseline;
  left_out.at_end = found.at_end;
  return outcome;
}

std::string write_left_out(const ResolvedRateSearch& search, const LeftOut& left_out) {
  const auto partition = without_moments(search, left_out.targets);
  const auto file = write_rates(search, partition,
                                rates_with(search, partition, left_out.targets, left_out.rate));
  write_file_atomically(std::filesystem::path(search.config.output) / "partition.yaml",
                        partition_text(search.layout, {partition, {}, {}, {}}));
  return file;
}

}  // namespace blockwise
