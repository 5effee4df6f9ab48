#include "experiments/curvature/hessian_plan.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "hessian/dense.hpp"
#include "hessian/guards.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {
namespace {

EigenpairOptions own_solver_options(const HessianConfig& config) {
  return config.eigenpair_options(0.0);
}

// Of the pairs, beside the probes'.
std::int64_t eigenpair_products(const HessianConfig& config, const HessianPart& part) {
  if (config.pairs.count == 0) return 0;
  const auto confirmed = std::min(2 * config.pairs.count, part.size());
  if (pairs_from_matrix(config, part)) return part.size() + confirmed;
  if (config.pairs.solver != "lanczos") return config.pairs.products + confirmed;
  const auto steps = steps_of(config, part);
  return config.lanczos.reorthogonalisation == "none" ? 0 : std::min(confirmed, steps);
}

std::int64_t part_products(const HessianConfig& config, const HessianPart& part) {
  std::int64_t products = config.guards ? kCheckProducts : 0;
  if (config.exact) return products + part.size();
  products +=
      config.lanczos.probes * most_steps_of(config, part) + eigenpair_products(config, part);
  products += config.trace.products + config.diagonal.products;
  if (config.preconditioning)
    products += kDiagonalProducts + config.lanczos.probes * steps_of(config, part);
  return products;
}

std::int64_t tensor_products(const HessianConfig& config, const Parameter& parameter) {
  if (config.exact) return parameter.size();
  const auto rules = static_cast<std::int64_t>(config.energies.partitions.size());
  return checked_sum("hessian: products", kDiagonalProducts,
                     checked_product("hessian.energies.partitions x code_vectors x codes",
                                     {rules, config.energies.code_vectors, config.energies.codes}));
}

std::int64_t coupling_products(const HessianConfig& config, const HessianPart& part) {
  if (config.couplings.products == 0) return 0;
  return config.exact ? part.size() : config.couplings.products;
}

// Bytes of tensors that are there at the same time.
using Blocks = std::vector<std::int64_t>;

Blocks with_vectors(std::int64_t basis, std::int64_t vectors, std::int64_t vector) {
  Blocks blocks(std::size_t(vectors), vector);
  blocks.push_back(basis);
  return blocks;
}

constexpr std::int64_t kBeside = 3;   // start, next vector and a residual's product
constexpr std::int64_t kOfMeans = 8;  // vectors in double of a mean and its spread, twice

// Lanczos vectors and those beside them, of each kind of work that is asked for.
std::vector<Blocks> vector_blocks(const HessianConfig& config, const HessianPart& part,
                                  std::int64_t ranks) {
  const std::int64_t element = config.precision == "fp64" ? 8 : 4;
  const auto bytes = [&](std::int64_t vectors, std::int64_t of_element) {
    return checked_product("hessian: bytes of a vector's elements x parameters",
                           {vectors, of_element, part.size()});
  };
  const auto both_ends = std::min(2 * config.pairs.count, part.size());
  const bool own_solver = config.pairs.solver != "lanczos" && config.pairs.count > 0;
  const bool keeps = config.lanczos.reorthogonalisation != "none";
  // Ranks keep a share of the basis each; without one, the two vectors are rank 0's.
  const auto share = [&](std::int64_t whole) { return ceil_divide(whole, ranks); };
  const auto basis = keeps ? share(bytes(most_steps_of(config, part), element)) : bytes(2, element);
  std::vector<Blocks> kinds = {
      with_vectors(basis, kBeside + (config.pairs.vectors > 0 ? both_ends : 0), bytes(1, element))};
  if (pairs_from_matrix(config, part)) {
    kinds.push_back({bytes(3 * part.size(), 8)});
  } else if (own_solver) {
    const bool spectra = config.pairs.solver == "spectra";
    const std::int64_t of = spectra ? 8 : element;
    const auto vectors = bytes(eigenpair_basis(own_solver_options(config), part.size()), of);
    kinds.push_back(
        with_vectors(spectra ? vectors : share(vectors), kBeside + both_ends, bytes(1, of)));
  }
  // Hutch++ and XTrace keep their sketches on the host in float64.
  if (config.trace.method != "hutchinson") kinds.push_back({bytes(2 * config.trace.products, 8)});
  if (config.diagonal.products > 0) kinds.push_back(with_vectors(0, kOfMeans, bytes(1, 8)));
  // The share of the diagonal, then a second Lanczos beside Adam's scale.
  if (config.preconditioning) kinds.push_back(with_vectors(basis, kOfMeans, bytes(1, 8)));
  return kinds;
}

struct BasisBytes {
  std::int64_t memory = 0, files = 0;
};

BasisBytes basis_bytes(const HessianConfig& config, const HessianPart& part, std::int64_t ranks,
                       std::int64_t files_from) {
  BasisBytes most;
  for (const auto& blocks : vector_blocks(config, part, ranks)) {
    BasisBytes sum;
    for (const auto block : blocks) {
      auto& where = block >= files_from ? sum.files : sum.memory;
      where = checked_sum("hessian: bytes of vectors", where, block);
    }
    most = {std::max(most.memory, sum.memory), std::max(most.files, sum.files)};
  }
  return most;
}

void require_fit(const HessianConfig& config, const std::vector<HessianPart>& parts) {
  for (const auto& part : parts) {
    require_input(!config.exact || part.size() <= kLargestDense,
                  "hessian.exact: part '{}' has {} parameters, a matrix is made up to {}",
                  part.name, part.size(), kLargestDense);
    const bool own = config.pairs.solver != "lanczos" && config.pairs.count > 0;
    if (own && !pairs_from_matrix(config, part)) {
      eigenpair_basis(own_solver_options(config), part.size());
    }
  }
}

}  // namespace

std::int64_t steps_of(const HessianConfig& config, const HessianPart& part) {
  return std::min(config.lanczos.steps, part.size());
}

bool first_of_subset(const std::vector<HessianPart>& parts, std::size_t place) {
  const auto& tensors = parts[place].subset.parameters();
  return std::none_of(parts.begin(), parts.begin() + std::ptrdiff_t(place),
                      [&](const auto& before) { return before.subset.parameters() == tensors; });
}

bool pairs_from_matrix(const HessianConfig& config, const HessianPart& part) {
  return config.pairs.solver != "lanczos" && config.pairs.count > 0 &&
         part.size() <= std::min(2 * config.pairs.count, kLargestDense);
}

std::int64_t most_steps_of(const HessianConfig& config, const HessianPart& part) {
  const auto steps = steps_of(config, part);
  if (config.spectral.functions.empty() || steps == 0) return steps;
  return std::min(kFunctionDepth * config.lanczos.steps, part.size());
}

bool wants_energies(const HessianConfig& config, const Parameter& parameter) {
  const auto role = [&](ParameterRole r) {
    return config.parts.roles.empty() || std::ranges::count(config.parts.roles, role_name(r)) > 0;
  };
  bool fits = role(parameter.role) && parameter.sections.empty();
  for (const auto& section : parameter.sections) fits = fits || role(section.role);
  const bool layer =
      config.parts.layers.empty() || std::ranges::count(config.parts.layers, parameter.layer) > 0;
  const bool name = config.parts.names.empty() ||
                    std::ranges::any_of(config.parts.names,
                                        [&](const auto& n) { return matches_name(parameter, n); });
  return !config.energies.partitions.empty() && fits && layer && name && parameter.is_matrix();
}

MeasurementPlan plan_measurement(const HessianConfig& config, const ParameterLayout& layout,
                                 std::int64_t ranks) {
  MeasurementPlan plan;
  plan.tables.parts = select_parts(layout, config.selection(layout));
  for (const auto& part : plan.tables.parts) {
    plan.lanczos_steps = std::max(plan.lanczos_steps, steps_of(config, part));
  }
  plan.tables.rules = config.energies.partitions;
  plan.tables.functions = config.spectral.functions;
  require_fit(config, plan.tables.parts);
  if (config.guards && config.curvature_kind() == CurvatureKind::hessian) {
    plan.tables.symmetries = checked_symmetry_names(layout);
    plan.products += std::ssize(plan.tables.symmetries);
  }
  for (const auto& part : plan.tables.parts) {
    const auto of_part = part_products(config, part) + coupling_products(config, part);
    plan.products = checked_sum("hessian: products", plan.products, of_part);
    const auto basis = basis_bytes(config, part, ranks, config.files_from(layout.size()));
    plan.basis_bytes = std::max(plan.basis_bytes, basis.memory);
    plan.basis_file_bytes = std::max(plan.basis_file_bytes, basis.files);
  }
  const auto side_by_side = std::min(config.lanczos.lockstep, std::ssize(plan.tables.parts));
  for (auto* bytes : {&plan.basis_bytes, &plan.basis_file_bytes}) {
    *bytes = checked_product("hessian.lanczos.lockstep x bytes", {side_by_side, *bytes});
  }
  for (const auto& parameter : layout.parameters()) {
    if (!wants_energies(config, parameter)) continue;
    plan.products =
        checked_sum("hessian: products", plan.products, tensor_products(config, parameter));
  }
  plan.gradients = static_cast<double>(plan.products) *
                   product_cost(config.product_method(), config.curvature_kind());
  std::set<std::vector<std::size_t>> subsets;  // whose vectors have a step of differences
  for (const auto& part : plan.tables.parts) subsets.insert(part.subset.parameters());
  if (plan.tables.symmetries.size() > 0) subsets.insert(ParameterSubset(layout).parameters());
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    if (wants_energies(config, layout.parameters()[i])) subsets.insert({i});
  }
  plan.gradients += double(subsets.size()) * calibration_cost(config.product_method());
  return plan;
}

}  // namespace blockwise
