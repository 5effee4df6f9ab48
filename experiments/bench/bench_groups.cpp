#include "experiments/bench/bench_groups.hpp"

#include <array>

namespace blockwise {
namespace {

// In the order of their names.
constexpr std::array<BenchGroup (*)(const BenchSubject&), kBenchGroups.size()> kMakers = {
    machine_limits, optimizer_updates, state_codecs, curvature_products, training_steps};

std::vector<NamedBenchGroup> named_groups() {
  std::vector<NamedBenchGroup> groups;
  for (std::size_t i = 0; i < kBenchGroups.size(); ++i) {
    groups.push_back(
        {kBenchGroups[i].name, kBenchGroups[i].doc, kMakers[i], kBenchGroups[i].on_cpu_alone});
  }
  return groups;
}

}  // namespace

const std::vector<NamedBenchGroup>& bench_groups() {
  static const std::vector<NamedBenchGroup> groups = named_groups();
  return groups;
}

}  // namespace blockwise
