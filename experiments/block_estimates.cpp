#include "experiments/block_estimates.hpp"

#include <algorithm>
#include <cmath>

#include "hessian/spectral_function.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kFewestProbes = 10;

SpectralDensity::Share mean_of(const HessianConfig& config, const SpectralDensity& density,
                               const std::string& name) {
  const auto& function = spectral_function(name);
  return density.mean_of([&](double x) { return function.value(x, config.damping); });
}

}  // namespace

bool wants_probe(const MeasurementScope& scope, const BlockGroup& group) {
  const auto wants = [&](const auto& work) {
    if (std::ssize(work->density.probes) < kFewestProbes) return true;
    return std::ranges::any_of(scope.config.functions, [&](const auto& name) {
      const auto share = mean_of(scope.config, work->density, name);
      return share.standard_error > scope.config.function_error * std::abs(share.mean);
    });
  };
  if (scope.config.function_error <= 0.0 || scope.config.functions.empty()) return true;
  return std::ranges::any_of(group, wants);
}

void record_functions(const MeasurementScope& scope, BlockMeasurement& work,
                      const SpectralDensity& density) {
  const auto n = static_cast<double>(work.block.size());
  const auto probes = scope.config.exact ? 0 : std::ssize(density.probes);
  for (std::size_t f = 0; f < scope.config.functions.size(); ++f) {
    const auto share = mean_of(scope.config, density, scope.config.functions[f]);
    const double error = probes == 1 ? kUnknown : n * share.standard_error;
    work.rows.functions.push_back(
        {scope.step, work.index, static_cast<std::int64_t>(f), n * share.mean, error, probes});
  }
}

void estimate_trace(const MeasurementScope& scope, BlockMeasurement& work) {
  const auto both = trace_and_norm(
      work.a, {scope.config.trace_products, scope.config.trace_error, probe_seed(scope.config) + 1},
      scope.config.trace_estimator());
  auto& row = work.summary;
  row.trace = both.trace.value;
  row.trace_error = both.trace.standard_error;
  row.squared_frobenius = both.squared_frobenius_norm.value;
  row.squared_frobenius_error = both.squared_frobenius_norm.standard_error;
  row.products += both.trace.products;
}

void estimate_vectors(const MeasurementScope& scope, BlockMeasurement& work) {
  const auto found = diagonal_and_row_norms(
      work.a,
      {scope.config.diagonal_products, scope.config.diagonal_error, probe_seed(scope.config) + 3});
  work.summary.products += found.diagonal.products;
  if (scope.sinks.vectors) scope.sinks.vectors(static_cast<std::size_t>(work.index), found);
}

}  // namespace blockwise
