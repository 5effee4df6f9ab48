#include "experiments/curvature/hessian_relations.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/partition/partition_rules.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/coupling_norms.hpp"
#include "hessian/dense.hpp"

namespace blockwise {

HessianRows coupling_column(const MeasurementScope& scope, std::size_t j) {
  const CouplingPlan plan = {scope.config.couplings.products, scope.config.exact,
                             scope.seed(ProbeStream::couplings), scope.config.curvature_kind()};
  const auto norms = squared_coupling_norms(scope.tables.parts, scope.curvature, j, plan,
                                            scope.watch("couplings"));
  HessianRows rows;
  for (std::size_t i = 0; i < norms.size(); ++i) {
    const auto interval = norms[i].interval();
    rows.couplings.push_back({scope.step, static_cast<std::int64_t>(i),
                              static_cast<std::int64_t>(j), norms[i].mean, norms[i].standard_error,
                              interval.low, interval.high});
  }
  return rows;
}

namespace {

// What all rules of a tensor share.
struct TensorEvidence {
  at::Tensor matrix;          // exact only
  at::Tensor first, second;   // diagonals of two halves of the probes
  double diagonal_share = 0;  // of the energy
};

TensorEvidence exact_evidence(const LinearOperator& a) {
  const auto matrix = to_dense(a);
  const auto diagonal = matrix.diagonal();
  return {matrix, diagonal, diagonal,
          diagonal.square().sum().item<double>() / matrix.square().sum().item<double>()};
}

TensorEvidence estimated_evidence(const LinearOperator& a, std::uint64_t seed) {
  const auto diagonal = diagonal_share(a, {kDiagonalProducts, 0.0, seed});
  return {{}, diagonal.first_half, diagonal.second_half, std::clamp(diagonal.share, 0.0, 1.0)};
}

void fill_share(EnergyRow& row, const MeasurementScope& scope, const LinearOperator& a,
                const TensorEvidence& evidence, const at::Tensor& labels) {
  const auto& config = scope.config;
  if (config.exact) {
    row.share =
        inside_energy(evidence.matrix, labels) / evidence.matrix.square().sum().item<double>();
    row.share_error = row.share_half_width = 0.0;
    return;
  }
  const auto found = block_energies(
      a, labels, row.blocks,
      {config.energies.code_vectors, config.energies.codes, scope.seed(ProbeStream::energies)});
  row.share = found.share;
  row.share_error = found.share_error;
  row.share_half_width =
      found.share_error * student_t_quantile(double(config.energies.code_vectors - 1));
}

}  // namespace

HessianRows tensor_energies(const MeasurementScope& scope, std::size_t tensor) {
  const auto& config = scope.config;
  const auto& rules = scope.tables.rules;
  const auto& layout = scope.curvature.store().layout();
  const CurvatureOperator whole(scope.curvature, config.curvature_kind(),
                                ParameterSubset(layout, {tensor}));
  const StoppableOperator a(whole, scope.watch("energies of " + layout.parameters()[tensor].name));
  const auto evidence = config.exact
                            ? exact_evidence(a)
                            : estimated_evidence(a, scope.seed(ProbeStream::diagonal_share));
  HessianRows rows;
  for (std::size_t r = 0; r < rules.size(); ++r) {
    const auto partition = make_partition(layout, rules[r]);
    const auto& blocks = partition.tensors()[tensor];
    const auto labels = at::tensor(blocks.labels(), at::kLong);
    EnergyRow row{scope.step, static_cast<std::int64_t>(tensor), static_cast<std::int64_t>(r),
                  blocks.block_count()};
    fill_share(row, scope, a, evidence, labels);
    row.random_share = random_share(labels, row.blocks, evidence.diagonal_share);
    row.lift = coupling_lift(row.share, row.random_share);
    row.homogeneity = inside_variance(evidence.first, evidence.second, labels, row.blocks);
    rows.energies.push_back(row);
  }
  return rows;
}

}  // namespace blockwise
