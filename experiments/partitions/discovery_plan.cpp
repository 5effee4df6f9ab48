#include "experiments/partitions/discovery_plan.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/curvature/moment_batches.hpp"
#include "experiments/partitions/partition_candidates.hpp"
#include "hessian/dense.hpp"

namespace blockwise {

bool has_blocks(const PartitionSection& s) { return s.structure.kind == Structure::Kind::tiles; }

namespace {

SectionScores candidates_of(const DiscoveryConfig& config, std::size_t tensor,
                            const SectionView& view, std::int64_t row) {
  SectionScores section;
  section.tensor = tensor;
  section.is_matrix = view.is_matrix;
  for (const auto& candidate : partition_candidates()) {
    const bool fits = view.is_matrix ? config.uses(candidate.name) : candidate.name == "element";
    const auto structure = fits ? candidate.structure(view) : std::nullopt;
    if (!structure) continue;
    CandidateScore score{candidate.name,
                         {view.role, candidate.name, row, view.rows, view.columns, *structure}};
    section.candidates.push_back(std::move(score));
  }
  return section;
}

}  // namespace

std::vector<SectionScores> all_sections(const DiscoveryConfig& config,
                                        const ParameterLayout& layout) {
  std::vector<SectionScores> sections;
  for (std::size_t t = 0; t < layout.blocks().size(); ++t) {
    std::int64_t row = 0;
    for (const auto& view : section_views(layout.blocks()[t])) {
      sections.push_back(candidates_of(config, t, view, row));
      row += view.rows;
    }
  }
  return sections;
}

std::vector<std::string> level_names(const std::vector<SectionScores>& sections) {
  std::vector<std::string> names;
  for (const auto& candidate : partition_candidates()) {
    const bool used = std::ranges::any_of(sections, [&](const auto& section) {
      return section.is_matrix && std::ranges::any_of(section.candidates, [&](const auto& c) {
               return c.name == candidate.name && has_blocks(c.section);
             });
    });
    if (used) names.push_back(candidate.name);
  }
  return names;
}

std::vector<std::size_t> searched_tensors(const ParameterLayout& layout) {
  std::vector<std::size_t> tensors;
  for (std::size_t t = 0; t < layout.blocks().size(); ++t) {
    if (layout.blocks()[t].is_matrix()) tensors.push_back(t);
  }
  return tensors;
}

namespace {

void require_small_matrices(const ParameterLayout& layout) {
  for (const auto tensor : searched_tensors(layout)) {
    const auto& block = layout.blocks()[tensor];
    require_input(block.size() <= kLargestDense,
                  "hessian.exact: tensor '{}' has {} parameters, a matrix is made up to {}",
                  block.name, block.size(), kLargestDense);
  }
}

void require_trial_rule(const OptimizerConfig& optimizer) {
  require_input(optimizer.uses_partition(),
                "discovery.objective is loss: trials train with optimizer.rule, and '{}' has no "
                "partition; --set optimizer.rule=adam_mini",
                optimizer.rule);
}

std::int64_t roles_of(const ParameterLayout& layout) {
  std::set<ParameterRole> roles;
  for (const auto t : searched_tensors(layout)) {
    for (const auto& view : section_views(layout.blocks()[t])) roles.insert(view.role);
  }
  return std::ssize(roles);
}

// Products of each tensor by itself, and of all of them at once; and units of progress.
void count_products(ResolvedDiscovery& d, const RunConfig& config) {
  const auto& c = config.discovery;
  const auto& h = config.hessian;
  const auto tensors = searched_tensors(d.layout);
  std::int64_t each = 0, whole = 0;
  if (c.needs_products() && h.exact) {
    for (const auto t : tensors) each += d.layout.blocks()[t].size();
    d.units += std::ssize(tensors);
  } else if (c.needs_products()) {
    const auto levels = std::ssize(level_names(all_sections(c, d.layout)));
    const auto coded =
        checked_product("levels x discovery.vectors x codes", {levels, c.vectors, c.codes});
    d.units += coded;
    (c.scope == "tensor" ? each : whole) += coded;
  }
  if (c.needs_products()) {
    const auto blocks = 2 * c.condition_blocks * roles_of(d.layout);
    const auto validation =
        c.validation_vectors > 0 ? 2 * (c.validation_vectors * c.codes + kGradientCodes + 1) : 0;
    each += blocks * kConditionProducts;
    whole += validation;
    d.units += blocks + validation;
  }
  if (c.merge) whole += kCouplingVectors * kCouplingCodes;
  if (c.merge) d.units += kCouplingVectors * kCouplingCodes;
  const auto parts = c.scope == "tensor" && !h.exact ? std::ssize(tensors) : 1;
  d.products = each + whole;
  d.gradients = double(each * parts + whole) * product_cost(h.product_method(), h.curvature_kind());
  // Steps of differences: those of every tensor, and of all together.
  if (c.needs_products()) {
    d.gradients += calibration_cost(h.product_method()) * double(std::ssize(tensors) + 1);
  }
}

// Whatever is measured, no section can have fewer values than its smallest candidate.
void require_state(const DiscoveryConfig& config, const ParameterLayout& layout) {
  std::int64_t least = 0;
  for (const auto& section : all_sections(config, layout)) {
    std::int64_t smallest = kMostSize;
    for (const auto& c : section.candidates) smallest = std::min(smallest, c.section.state_size());
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

void require_memory(const ProductMemory& memory, at::Device device) {
  const auto available = available_bytes(device);
  require_input(available == 0 || memory.peak <= available,
                "partition: this takes {:.2f} GiB, {:.2f} GiB are available. Smaller: "
                "hessian.batches or hessian.batch_size, hessian.method fresh_graph or "
                "finite_difference",
                double(memory.peak) / double(1 << 30), double(available) / double(1 << 30));
}

}  // namespace

ResolvedDiscovery resolve_discovery(RunConfig config) {
  if (config.discovery.by_loss()) require_trial_rule(config.optimizer);
  const auto data = open_data(config);
  ResolvedDiscovery discovery{{}, {}, data, config.model.spec->layout(), 0, 0, 0.0, {}};
  const auto& c = config.discovery;
  const auto& h = config.hessian;
  require_state(c, discovery.layout);
  require_measured_store(config, discovery.layout, resolve_device(config.trainer.device));
  require_examples(h, *data, c.sample + (c.validation_vectors > 0 ? 2 : 1));
  require_moment_examples(hessian_moment_batches(h, c.gradient_batches), *data);
  if (h.exact) require_small_matrices(discovery.layout);
  count_products(discovery, config);
  discovery.units += c.gradient_batches / kMomentGroups * kMomentGroups;
  discovery.gradients += double(c.gradient_batches) / double(h.batches);
  discovery.memory =
      product_memory(*config.model.spec, h.dtype(), hessian_batch_shape(h, *data, h.dtype()),
                     h.batches, {h.product_method(), h.curvature_kind()});
  require_memory(discovery.memory, resolve_device(config.trainer.device));
  discovery.hash = config_hash(config);
  discovery.config = std::move(config);
  return discovery;
}

}  // namespace blockwise
