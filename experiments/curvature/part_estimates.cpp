#include "experiments/curvature/part_estimates.hpp"

#include <algorithm>
#include <cmath>

#include "hessian/spectral_function.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kFewestProbes = 10;

// Of a quadrature's error that an interval is widened by, and still called small: of the value, or
// of what the probes make of the interval's half width. Up to there the interval covers at most
// 0.97.
constexpr double kSmallShare = 0.01, kSmallBesideProbes = 0.5;

}  // namespace

bool wants_probe(const MeasurementScope& scope, const PartGroup& group) {
  const auto wants = [&](const auto& work) {
    if (std::ssize(work->density.probes) < kFewestProbes) return true;
    return std::ranges::any_of(scope.config.spectral.functions, [&](const auto& name) {
      const auto f = spectral_function(name).with(scope.config.spectral.damping);
      const auto mean = work->density.probe_mean(f.value);
      return mean.standard_error > scope.config.spectral.error * std::abs(mean.mean);
    });
  };
  if (scope.config.spectral.error <= 0.0 || scope.config.spectral.functions.empty()) return true;
  return std::ranges::any_of(group, wants);
}

void record_functions(const MeasurementScope& scope, PartMeasurement& work,
                      const SpectralDensity& density) {
  const auto n = static_cast<double>(work.part.size());
  for (std::size_t f = 0; f < scope.config.spectral.functions.size(); ++f) {
    auto share = density.mean_of(
        spectral_function(scope.config.spectral.functions[f]).with(scope.config.spectral.damping));
    if (scope.config.exact) share.samples = 0;
    const auto interval = share.interval();
    const double off = std::max(share.below, share.above);
    const bool spread = share.samples > 1;
    const double probes =
        spread ? student_t_quantile(double(share.samples - 1)) * share.standard_error : 0.0;
    const bool converged =
        off <= std::max(kSmallBesideProbes * probes, kSmallShare * std::abs(share.value));
    work.rows.functions.push_back(
        {scope.step, work.index, static_cast<std::int64_t>(f), n * share.value,
         share.samples == 1 ? kUnknown : n * share.standard_error, share.samples, n * off,
         known(n * interval.low), known(n * interval.high), converged});
  }
}

void estimate_trace(const MeasurementScope& scope, PartMeasurement& work) {
  const auto both = trace_and_norm(
      work.kept,
      {scope.config.trace.products, scope.config.trace.error, scope.seed(ProbeStream::trace)},
      scope.config.trace_estimator());
  auto& row = work.summary;
  const auto trace = both.trace.interval(), norm = both.squared_frobenius_norm.interval();
  row.trace = both.trace.value;
  row.trace_error = both.trace.standard_error;
  row.trace_low = known(trace.low);
  row.trace_high = known(trace.high);
  row.squared_frobenius = both.squared_frobenius_norm.value;
  row.squared_frobenius_error = both.squared_frobenius_norm.standard_error;
  row.squared_frobenius_low = known(norm.low);
  row.squared_frobenius_high = known(norm.high);
  row.products += both.trace.products;
}

void estimate_vectors(const MeasurementScope& scope, PartMeasurement& work) {
  if (!scope.sinks.vectors) return;
  const auto found = diagonal_and_row_norms(
      work.kept, {scope.config.diagonal.products, scope.config.diagonal.error,
                  scope.seed(ProbeStream::diagonal)});
  work.summary.products += found.diagonal.products;
  scope.sinks.vectors(static_cast<std::size_t>(work.index), found);
}

}  // namespace blockwise
