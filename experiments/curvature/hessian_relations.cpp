#include "experiments/curvature/hessian_relations.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/random_stream.hpp"
#include "core/partition/partition_rules.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/dense.hpp"

namespace blockwise {

// ---- couplings ----------------------------------------------------------------------------------

namespace {

double squared_norm_in(const std::vector<at::Tensor>& parts, const HessianBlock& block) {
  std::vector<at::Tensor> chosen;
  for (const auto tensor : block.subset.blocks()) chosen.push_back(parts[tensor]);
  auto packed = at::empty({block.subset.size()}, chosen.front().options());
  block.subset.pack(chosen, packed);
  return block.extract(packed).to(at::kDouble).square().sum().item<double>();
}

// ||(H E_j z)_i||^2 for every block i.
at::Tensor squared_norms(const std::vector<HessianBlock>& blocks, Curvature& curvature,
                         std::size_t j, const at::Tensor& z) {
  const ParameterSubset all(curvature.store().layout());
  const auto& from = blocks[j];
  auto y = at::empty({all.size()}, curvature.store().parameters().options());
  curvature.hessian_product(from.subset, from.embed(z.to(y.options())), all, y);
  const auto parts = all.views(y);
  std::vector<double> squares;
  for (const auto& block : blocks) squares.push_back(squared_norm_in(parts, block));
  return at::tensor(squares, at::kDouble);
}

at::Tensor unit_vector(std::int64_t size, std::int64_t k) {
  auto e = at::zeros({size}, at::kDouble);
  e[k] = 1.0;
  return e;
}

at::Tensor rademacher(const HessianConfig& config, std::int64_t size, std::size_t j,
                      std::int64_t k) {
  auto generator = make_generator(config.probe_seed(), RandomStream::probe,
                                  static_cast<std::uint64_t>(j), static_cast<std::uint64_t>(k));
  return at::randint(2, {size}, generator, at::kDouble).mul_(2.0).sub_(1.0);
}

}  // namespace

// E over Rademacher z of ||(H E_j z)_i||^2; over unit vectors its sum, exactly.
HessianRows coupling_column(const MeasurementScope& scope, std::size_t j) {
  const auto& config = scope.config;
  const auto& blocks = scope.tables.blocks;
  const auto watch = scope.watch("couplings");
  const auto size = blocks[j].size();
  const auto count = config.exact ? size : config.coupling_products;
  std::vector<at::Tensor> samples;
  for (std::int64_t k = 0; k < count; ++k) {
    const auto z = config.exact ? unit_vector(size, k) : rademacher(config, size, j, k);
    watch.leave_if_stopped();
    samples.push_back(squared_norms(blocks, scope.curvature, j, z));
    watch.tell();
  }
  const auto squares = at::stack(samples, 1);
  HessianRows rows;
  for (std::int64_t i = 0; i < std::ssize(blocks); ++i) {
    const auto of_block = squares.select(0, i);
    auto found = mean_of_squares({of_block.data_ptr<double>(), samples.size()});
    if (config.exact) found = {0, of_block.sum().item<double>()};
    const auto interval = found.interval();
    rows.couplings.push_back({scope.step, i, static_cast<std::int64_t>(j), found.mean,
                              found.standard_error, interval.low, interval.high});
  }
  return rows;
}

// ---- partitions ---------------------------------------------------------------------------------

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

void fill_share(EnergyRow& row, const HessianConfig& config, const LinearOperator& a,
                const TensorEvidence& evidence, const at::Tensor& labels) {
  if (config.exact) {
    row.share =
        inside_energy(evidence.matrix, labels) / evidence.matrix.square().sum().item<double>();
    row.share_error = row.share_half_width = 0.0;
    return;
  }
  const auto found = block_energies(a, labels, row.blocks,
                                    {config.code_vectors, config.codes, config.probe_seed()});
  row.share = found.share;
  row.share_error = found.share_error;
  row.share_half_width = found.share_error * student_t_quantile(double(config.code_vectors - 1));
}

}  // namespace

HessianRows tensor_energies(const MeasurementScope& scope, std::size_t tensor) {
  const auto& config = scope.config;
  const auto& rules = scope.tables.rules;
  const auto& layout = scope.curvature.store().layout();
  const CurvatureOperator whole(scope.curvature, config.curvature_kind(),
                                ParameterSubset(layout, {tensor}));
  const StoppableOperator a(whole, scope.watch("energies of " + layout.blocks()[tensor].name));
  const auto evidence =
      config.exact ? exact_evidence(a) : estimated_evidence(a, config.probe_seed() + 2);
  HessianRows rows;
  for (std::size_t r = 0; r < rules.size(); ++r) {
    const auto partition = make_partition(layout, rules[r]);
    const auto& parts = partition.tensors()[tensor];
    const auto labels = at::tensor(parts.labels(), at::kLong);
    EnergyRow row{scope.step, static_cast<std::int64_t>(tensor), static_cast<std::int64_t>(r),
                  parts.block_count()};
    fill_share(row, config, a, evidence, labels);
    row.random_share = random_share(labels, row.blocks, evidence.diagonal_share);
    row.lift = coupling_lift(row.share, row.random_share);
    row.homogeneity = inside_variance(evidence.first, evidence.second, labels, row.blocks);
    rows.energies.push_back(row);
  }
  return rows;
}

}  // namespace blockwise
