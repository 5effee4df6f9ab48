#include "experiments/curvature/part_measurement.hpp"

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

std::filesystem::path MeasurementScope::products_file(std::size_t part) const {
  if (state.empty()) return {};
  return state.parent_path() / fmt::format("products-{}-{}.bin", step, part);
}

MeasurementProgress::MeasurementProgress(const HessianRows& done, std::int64_t step) {
  for (const auto& row : done.summary) {
    if (row.step == step) parts.insert(row.part);
  }
  for (const auto& row : done.probes) {
    if (row.step == step) probes[{row.part, row.probe}] = row;
  }
  for (const auto& row : done.quadrature) {
    if (row.step != step) continue;
    auto& probe = quadratures[row.part][row.probe];
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

PartMeasurement::PartMeasurement(const MeasurementScope& scope, std::size_t place)
    : part(scope.tables.parts[place]),
      index(static_cast<std::int64_t>(place)),
      plain(scope.curvature, scope.config.curvature_kind(), part),
      a(plain, scope.watch(part.name)),
      kept(a, scope.products_file(place), fmt::format("step {} block {}", scope.step, part.name),
           [&scope, this] { scope.tell_product(part.name); }),
      density{{}, part.size(), scope.smallest_possible()} {}

at::Tensor part_gradient(Curvature& curvature, const HessianPart& part) {
  const ParameterSubset all(curvature.store().layout());
  return part.of_tensors(all.views(curvature.gradient()));
}

void check_part(const MeasurementScope& scope, PartMeasurement& work) {
  auto& row = work.summary;
  // Before there are other vectors: it takes the most.
  if (scope.curvature.uses_differences()) {
    const auto watch = scope.watch(work.part.name);
    scope.curvature.difference_step(work.part.subset, [&] { watch.leave_if_stopped(); });
  }
  if (scope.config.guards) {
    work.check = check_operator(work.a, scope.seed(ProbeStream::lanczos));
    row.noise = work.check.noise;
    row.asymmetry = work.check.asymmetry;
    row.nonlinearity = work.check.nonlinearity;
    row.products += kCheckProducts;
  }
  if (scope.curvature.uses_differences()) {
    const auto& step = scope.curvature.difference_step(work.part.subset);
    work.product_error = step.error;
    row.difference_error = step.typical_error;
    row.noise = std::fmax(row.noise, step.typical_error);  // NaN without guards
  }
  row.step = scope.step;
  row.part = work.index;
  row.loss = scope.curvature.loss();
  row.gradient_norm = part_gradient(scope.curvature, work.part).norm().item<double>();
}

void add_pairs(HessianRows& rows, std::int64_t step, std::int64_t part,
               const std::vector<RitzPair>& pairs, double product_error) {
  for (const auto& pair : pairs) {
    // What differences get wrong is below no residual of theirs: more steps tell nothing then.
    const double found = std::max(pair.residual_bound, pair.residual);
    const bool known = pair.converged || found <= product_error;
    rows.eigenvalues.push_back(
        {step, part, pair.place, pair.value, pair.residual_bound + product_error,
         pair.residual < 0.0 ? kUnknown : pair.residual + product_error, known});
  }
}

}  // namespace blockwise
