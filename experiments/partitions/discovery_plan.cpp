#include "experiments/partitions/discovery_plan.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/measured_hash.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/curvature/moment_batches.hpp"
#include "experiments/curvature/vectors_in_files.hpp"
#include "experiments/partitions/condition_measurement.hpp"
#include "experiments/partitions/energy_measurement.hpp"
#include "experiments/partitions/moment_measurement.hpp"
#include "experiments/partitions/partition_merges.hpp"
#include "experiments/partitions/partition_validation.hpp"
#include "experiments/partitions/section_candidates.hpp"
#include "hessian/dense.hpp"
#include "hessian/evidence/partition_energies.hpp"

namespace blockwise {
namespace {

void require_small_matrices(const ParameterLayout& layout) {
  for (const auto tensor : searched_tensors(layout)) {
    const auto& parameter = layout.parameters()[tensor];
    require_input(parameter.size() <= kLargestDense,
                  "hessian.exact: tensor '{}' has {} parameters, a matrix is made up to {}",
                  parameter.name, parameter.size(), kLargestDense);
  }
}

void require_trial_rule(const OptimizerConfig& optimizer) {
  require_input(optimizer.uses_partition(),
                "discovery.objective is loss: trials train with optimizer.rule, and '{}' has no "
                "partition; --set optimizer.rule=adam_mini",
                optimizer.rule);
}

// Whatever is measured, no section can have fewer values than its smallest candidate.
void require_state(const DiscoveryConfig& config, const ParameterLayout& layout) {
  std::int64_t least = 0;
  for (const auto& section : all_sections(config, layout)) {
    std::int64_t smallest = kMostSize;
    for (const auto& candidate : section.candidates) {
      smallest = std::min(smallest, candidate.section.state_size());
    }
    if (!section.candidates.empty()) least += smallest;
  }
  const double share = double(least) / double(layout.size());
  // Rounded up, so that what is named is enough.
  constexpr double kDigits = 1e6;
  require_input(
      static_cast<std::int64_t>(config.max_state * double(layout.size())) >= least,
      "discovery.max_state: {} of {} parameters is {:.0f} values, vectors per element and "
      "whole matrices take {}; the minimum is {:.6f}",
      config.max_state, layout.size(), std::floor(config.max_state * double(layout.size())), least,
      std::ceil(share * kDigits) / kDigits);
}

// Of everything that discover_partition() measures.
WorkCount measurements_work(const ResolvedDiscovery& discovery) {
  WorkCount work;
  for (const auto& part :
       {energies_work, moments_work, couplings_work, conditions_work, validation_work}) {
    work += part(discovery);
  }
  return work;
}

// Bytes beside products: of the elements that are searched the labels of every level, sums of the
// diagonal and what a probe makes; or, at another time, groups of all second moments.
std::int64_t bytes_beside_products(const ResolvedDiscovery& discovery) {
  constexpr std::int64_t kOfProbe = 5, kOfMoments = 2;
  const auto& layout = discovery.layout;
  std::int64_t searched = 0;
  for (const auto tensor : searched_tensors(layout)) searched += layout.parameters()[tensor].size();
  const auto levels =
      std::ssize(level_names(all_sections(discovery.config.discovery, discovery.layout)));
  const auto probes = checked_product("bytes of labels and probes x parameters",
                                      {8, levels + kDiagonalGroups + kOfProbe, searched});
  const auto moments = checked_product("bytes of second moments x parameters",
                                       {8, kMomentGroups + kOfMoments, layout.size()});
  return std::max(discovery.config.hessian.exact ? 0 : probes, moments);
}

}  // namespace

ResolvedDiscovery resolve_discovery(RunConfig given) {
  if (given.discovery.by_loss()) require_trial_rule(given.optimizer);
  ResolvedDiscovery discovery;
  discovery.data = open_data(given);
  discovery.layout = given.model.spec->layout();
  discovery.config = std::move(given);
  const auto& config = discovery.config;
  const auto& search = config.discovery;
  const auto& hessian = config.hessian;
  const auto device = resolve_device(config.trainer.device);
  require_state(search, discovery.layout);
  require_measured_store(config, discovery.layout, device);
  require_examples(hessian, *discovery.data,
                   search.sample + (search.validation_vectors > 0 ? 2 : 1));
  require_moment_examples(hessian_moment_batches(hessian, search.gradient_batches, search.sample),
                          *discovery.data);
  if (hessian.exact) require_small_matrices(discovery.layout);
  discovery.work = measurements_work(discovery);
  discovery.gradients = work_cost(discovery.work, hessian);
  discovery.memory = hessian_memory(config, *discovery.data);
  discovery.memory.peak =
      checked_sum("partition: bytes", discovery.memory.peak, bytes_beside_products(discovery));
  require_available(discovery.memory.peak, device, "partition", kSmallerProducts);
  require_room_for_vectors(config, device, discovery.memory.files);
  discovery.hash = config_hash(config);
  discovery.measured = measured_hash(config);
  return discovery;
}

}  // namespace blockwise
