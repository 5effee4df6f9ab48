#include "experiments/curvature/block_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "experiments/curvature/hessian_plan.hpp"

namespace blockwise {

void MeasurementScope::tell_product(const std::string& what) const {
  if (sinks.product) sinks.product(what);
}

WorkWatch MeasurementScope::watch(std::string what) const {
  return {stop, [this, what = std::move(what)] { tell_product(what); }};
}

void MeasurementScope::forget_state() const {
  if (!state.empty()) std::filesystem::remove(state);
}

std::filesystem::path MeasurementScope::products_file(std::size_t block) const {
  if (state.empty()) return {};
  return state.parent_path() / fmt::format("products-{}-{}.bin", step, block);
}

MeasurementProgress::MeasurementProgress(const HessianRows& done, std::int64_t step) {
  for (const auto& row : done.summary) {
    if (row.step == step) blocks.insert(row.block);
  }
  for (const auto& row : done.probes) {
    if (row.step == step) probes[{row.block, row.probe}] = row;
  }
  for (const auto& row : done.quadrature) {
    if (row.step != step) continue;
    auto& probe = quadratures[row.block][row.probe];
    probe.nodes.push_back(row.node);
    probe.weights.push_back(row.weight);
    if (!std::isnan(row.residual)) probe.residuals.push_back(row.residual);
  }
  const auto here = [&](const auto& rows) {
    return std::ranges::any_of(rows, [&](const auto& row) { return row.step == step; });
  };
  symmetries = here(done.symmetries);
  distances = here(done.distances);
  for (const auto& row : done.couplings) {
    if (row.step == step) couplings.insert(row.column_block);
  }
  for (const auto& row : done.energies) {
    if (row.step == step) energies.insert(row.tensor);
  }
}

double MeasurementScope::smallest_possible() const {
  return config.curvature_kind() == CurvatureKind::hessian
             ? -std::numeric_limits<double>::infinity()
             : 0.0;
}

BlockMeasurement::BlockMeasurement(const MeasurementScope& scope, std::size_t place)
    : block(scope.tables.blocks[place]),
      index(static_cast<std::int64_t>(place)),
      plain(scope.curvature, scope.config.curvature_kind(), block),
      a(plain, scope.watch(block.name)),
      kept(a, scope.products_file(place), fmt::format("step {} block {}", scope.step, block.name),
           [&scope, this] { scope.tell_product(block.name); }),
      density{{}, block.size(), scope.smallest_possible()} {}

at::Tensor block_gradient(Curvature& curvature, const HessianBlock& block) {
  const ParameterSubset all(curvature.store().layout());
  return block.of_parts(all.views(curvature.gradient()));
}

void check_block(const MeasurementScope& scope, BlockMeasurement& work) {
  auto& row = work.summary;
  if (scope.config.guards) {
    work.check = check_operator(work.a, scope.seed(ProbeStream::lanczos));
    row.noise = work.check.noise;
    row.asymmetry = work.check.asymmetry;
    row.nonlinearity = work.check.nonlinearity;
    row.products += kCheckProducts;
  }
  if (scope.curvature.uses_differences()) {
    const auto& step = scope.curvature.difference_step(work.block.subset);
    work.product_error = step.error;
    row.difference_error = step.typical_error;
    row.noise = std::fmax(row.noise, step.typical_error);  // NaN without guards
  }
  row.step = scope.step;
  row.block = work.index;
  row.loss = scope.curvature.loss();
  row.gradient_norm = block_gradient(scope.curvature, work.block).norm().item<double>();
}

void add_pairs(HessianRows& rows, std::int64_t step, std::int64_t block,
               const std::vector<RitzPair>& pairs, double product_error) {
  for (const auto& pair : pairs) {
    rows.eigenvalues.push_back(
        {step, block, pair.place, pair.value, pair.residual_bound + product_error,
         pair.residual < 0.0 ? kUnknown : pair.residual + product_error, pair.converged});
  }
}

}  // namespace blockwise
