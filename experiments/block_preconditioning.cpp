#include "experiments/block_preconditioning.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "experiments/hessian_plan.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/dense.hpp"

namespace blockwise {
namespace {

constexpr double kAdamEps = 1e-8;
constexpr double kLeftOut = 0.05;  // of a quadrature, see condition_number()

at::Tensor adam_scale(Curvature& curvature, const HessianBlock& block) {
  return block_gradient(curvature, block).abs().add_(kAdamEps).rsqrt_();
}

}  // namespace

void estimate_preconditioning(const MeasurementScope& scope, BlockMeasurement& work) {
  const auto diagonal =
      diagonal_share(work.a, {kDiagonalProducts, 0.0, probe_seed(scope.config) + 2});
  work.summary.products += diagonal.products;
  if (work.density.probes.empty()) return;
  const ScaledOperator scaled(work.a, adam_scale(scope.curvature, work.block));
  const auto probes = std::ssize(work.density.probes);
  const auto after = spectral_density(
      scaled, {steps_of(scope.config, work.block), probes, probe_seed(scope.config),
               scope.config.lanczos_reorthogonalisation(), work.check.noise});
  work.summary.products += probes * steps_of(scope.config, work.block);
  const auto log_condition = [](const Quadrature& q) {
    return std::log(condition_number(q, kLeftOut));
  };
  std::vector<double> logs, ratios;
  for (std::size_t k = 0; k < after.probes.size(); ++k) {
    logs.push_back(log_condition(work.density.probes[k]));
    ratios.push_back(log_condition(after.probes[k]) - logs.back());
  }
  const auto before = mean_and_error(logs), ratio = mean_and_error(ratios);
  PreconditioningRow row{scope.step, work.index, diagonal.share, diagonal.standard_error};
  row.condition = std::exp(before.mean);
  row.condition_adam = std::exp(before.mean + ratio.mean);
  row.ratio = std::exp(ratio.mean);
  row.ratio_error = probes == 1 ? kUnknown : row.ratio * ratio.standard_error;
  row.left_out = kLeftOut;
  work.rows.preconditioning.push_back(row);
}

void exact_preconditioning(const MeasurementScope& scope, BlockMeasurement& work,
                           const at::Tensor& matrix, const Quadrature& spectrum) {
  const auto d = adam_scale(scope.curvature, work.block).to(at::kCPU, at::kDouble);
  const auto scaled = d.unsqueeze(1) * matrix * d.unsqueeze(0);
  const auto values = symmetric_eigenvalues(scaled);
  const Quadrature after{values, spectrum.weights};
  const double tau =
      matrix.diagonal().square().sum().item<double>() / matrix.square().sum().item<double>();
  const double before_adam = condition_number(spectrum, 0.0);
  const double after_adam = condition_number(after, 0.0);
  work.rows.preconditioning.push_back({scope.step, work.index, tau, 0.0, before_adam, after_adam,
                                       after_adam / before_adam, 0.0, 0.0});
}

}  // namespace blockwise
