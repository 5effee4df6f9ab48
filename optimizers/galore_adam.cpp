#include "optimizers/galore_adam.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/tensor_steps.hpp"

namespace blockwise {

void GaloreAdam::visit(FieldVisitor& v) {
  v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
  v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
  v.real({"eps", "added to the root of the second moment, before its bias correction"}, eps,
         {0.0, 1.0, true, false});
}

void GaloreAdam::average(const at::Tensor& m, const at::Tensor& v, const at::Tensor& r) const {
  m.mul_(beta1).add_(r, 1.0 - beta1);
  v.mul_(beta2).addcmul_(r, r, 1.0 - beta2);
}

at::Tensor GaloreAdam::direction(const at::Tensor& m, const at::Tensor& v) const {
  return m / v.sqrt().add_(eps);
}

at::Tensor GaloreAdam::step(const ParameterStep& p, const StepScope& scope, const at::Tensor& d,
                            double scale) const {
  const double t = double(scope.step), lr = scope.learning_rate;
  const double size = lr * std::sqrt(1.0 - std::pow(beta2, t)) / (1.0 - std::pow(beta1, t));
  return step_then_decay(as_matrix(p, p.weight), d,
                         {size * scale, lr * p.weight_decay, element_rates(p)});
}

at::Tensor growth_divisor(const at::Tensor& norm, const at::Tensor& kept) {
  const auto growth = (norm / (kept.to(at::kDouble) + 1e-8)).clamp_min(1.01) / 1.01;
  const auto divisor = at::where(kept > 0, growth, at::ones_like(growth));
  kept.copy_(norm / divisor);
  return divisor;
}

}  // namespace blockwise
