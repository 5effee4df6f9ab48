#include "optimizers/adam_options.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace blockwise {

void AdamOptions::visit(FieldVisitor& v) {
  v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
  v.real({"beta2", "decay of the second moment; 1: the first squared gradient stays"}, beta2,
         {0.0, 1.0});
  v.real({"eps", "added to the root of the second moment, after its bias correction"}, eps,
         {0.0, 1.0, true, false});
}

AdamOptions::MomentStep AdamOptions::second_moment(std::int64_t step) const {
  if (beta2 == 1.0) return {step == 1 ? 0.0 : 1.0, step == 1 ? 1.0 : 0.0, 1.0};
  return {beta2, 1.0 - beta2, 1.0 - std::pow(beta2, double(step))};
}

kernels::AdamStep AdamOptions::step(const StepScope& scope, double weight_decay) const {
  const auto sizes = size(scope, weight_decay);
  const auto moment = second_moment(scope.step);
  kernels::AdamStep step;
  step.beta1 = static_cast<float>(beta1);
  step.one_minus_beta1 = static_cast<float>(1.0 - beta1);
  step.beta2 = static_cast<float>(moment.keep);
  step.one_minus_beta2 = static_cast<float>(moment.add);
  step.decay = static_cast<float>(1.0 - sizes.shrink);
  step.shrink = static_cast<float>(sizes.shrink);
  step.step_size = static_cast<float>(sizes.size);
  step.inverse_root_bias = static_cast<float>(1.0 / std::sqrt(moment.bias));
  step.eps = static_cast<float>(eps);
  step.gradient_scale = static_cast<float>(scope.gradient_scale);
  return step;
}

StepSize AdamOptions::size(const StepScope& scope, double weight_decay) const {
  return {scope.learning_rate / (1.0 - std::pow(beta1, double(scope.step))),
          scope.learning_rate * weight_decay};
}

at::Tensor momentum_tensors(const at::Tensor& w, const at::Tensor& g, const at::Tensor& m,
                            double beta1, const StepSize& size) {
  m.mul_(beta1).add_(g, 1.0 - beta1);
  return take_step(w, m, size);
}

at::Tensor adam_tensors(const AdamTensors& x, const AdamOptions& options, const StepScope& scope,
                        const StepSize& size) {
  x.m.mul_(options.beta1).add_(x.g, 1.0 - options.beta1);
  const auto bias = options.second_moment(scope.step).bias;
  return take_step(x.w, x.m / x.v.sqrt().div_(std::sqrt(bias)).add_(options.eps), size);
}

}  // namespace blockwise
