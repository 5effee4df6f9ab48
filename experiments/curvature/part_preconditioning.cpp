#include "experiments/curvature/part_preconditioning.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "experiments/curvature/hessian_plan.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/dense.hpp"

namespace blockwise {
namespace {

constexpr double kAdamEps = 1e-8;
constexpr double kLeftOut = 0.05;  // of a quadrature, see condition_number()
constexpr double kDeviations = 2.0;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

at::Tensor adam_scale(Curvature& curvature, const HessianPart& part) {
  return part_gradient(curvature, part).abs().add_(kAdamEps).rsqrt_();
}

struct LogInterval {
  double value, low, high;
};

// Logarithms of the condition numbers of a density's probes, and of their bounds.
struct LogConditions {
  std::vector<double> values, lows, highs;

  // Geometric mean. Its interval is Student's over the probes, from the bounds' means; of one probe
  // they are wider by the spread of a probe's share.
  LogInterval interval() const {
    const auto low = sample_mean(lows), high = sample_mean(highs);
    const bool spread = low.count > 1 && std::isfinite(high.mean);
    const double mean = sample_mean(values).mean;
    const double down = low.count > 1 ? low.interval().low : low.mean;
    const double up = spread ? high.interval().high : high.mean;
    return {std::exp(mean), std::exp(down), std::exp(std::isnan(up) ? kInfinite : up)};
  }
};

LogConditions log_conditions(const SpectralDensity& density) {
  const double deviations = density.probes.size() > 1 ? 0.0 : kDeviations;
  LogConditions logs;
  for (const auto& probe : density.probes) {
    const auto bounds =
        condition_bounds(probe, kLeftOut, density.rows, deviations, density.smallest_possible);
    logs.values.push_back(std::log(condition_number(probe, kLeftOut)));
    logs.lows.push_back(std::log(bounds.low));
    logs.highs.push_back(std::log(bounds.high));
  }
  return logs;
}

}  // namespace

void estimate_preconditioning(const MeasurementScope& scope, PartMeasurement& work) {
  const auto diagonal =
      diagonal_share(work.kept, {kDiagonalProducts, 0.0, scope.seed(ProbeStream::diagonal_share)});
  work.summary.products += diagonal.products;
  if (work.density.probes.empty()) return;
  const ScaledOperator scaled(work.kept, adam_scale(scope.curvature, work.part));
  const auto probes = std::ssize(work.density.probes);
  const auto after = spectral_density(
      scaled,
      {steps_of(scope.config, work.part), probes, scope.seed(ProbeStream::lanczos),
       scope.config.lanczos_reorthogonalisation(), work.check.noise, scope.smallest_possible()});
  work.summary.products += probes * steps_of(scope.config, work.part);
  const auto before = log_conditions(work.density), after_adam = log_conditions(after);
  std::vector<double> ratios;
  for (std::size_t k = 0; k < after_adam.values.size(); ++k) {
    ratios.push_back(after_adam.values[k] - before.values[k]);
  }
  const auto ratio = sample_mean(ratios);
  const LogInterval condition = before.interval(), condition_adam = after_adam.interval();
  PreconditioningRow row{scope.step, work.index, diagonal.share, diagonal.standard_error};
  row.tau_half_width = diagonal.standard_error * student_t_quantile(kDiagonalShareGroups - 1.0);
  row.condition = condition.value;
  row.condition_low = condition.low;
  row.condition_high = condition.high;
  row.condition_adam = condition_adam.value;
  row.condition_adam_low = condition_adam.low;
  row.condition_adam_high = condition_adam.high;
  row.ratio = std::exp(ratio.mean);
  row.ratio_error = probes == 1 ? kUnknown : row.ratio * ratio.standard_error;
  row.ratio_low = condition_adam.low / condition.high;
  row.ratio_high = condition_adam.high / condition.low;
  row.left_out = kLeftOut;
  work.rows.preconditioning.push_back(row);
}

void exact_preconditioning(const MeasurementScope& scope, PartMeasurement& work,
                           const at::Tensor& matrix, const Quadrature& spectrum) {
  const auto d = adam_scale(scope.curvature, work.part).to(at::kCPU, at::kDouble);
  const auto scaled = d.unsqueeze(1) * matrix * d.unsqueeze(0);
  const auto values = symmetric_eigenvalues(scaled);
  const Quadrature after{values, spectrum.weights, spectrum.residuals};
  const double tau =
      matrix.diagonal().square().sum().item<double>() / matrix.square().sum().item<double>();
  const double before_adam = condition_number(spectrum, 0.0);
  const double after_adam = condition_number(after, 0.0);
  const double ratio = after_adam / before_adam;
  work.rows.preconditioning.push_back({scope.step, work.index, tau, 0.0, before_adam, after_adam,
                                       ratio, 0.0, 0.0, 0.0, before_adam, before_adam, after_adam,
                                       after_adam, ratio, ratio});
}

}  // namespace blockwise
