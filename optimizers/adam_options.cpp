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

kernels::AdamStep AdamOptions::step(const StepInfo& info) const {
  const auto t = static_cast<double>(info.step);
  kernels::AdamStep step;
  step.beta1 = static_cast<float>(beta1);
  step.one_minus_beta1 = static_cast<float>(1.0 - beta1);
  const auto moment = second_moment(info.step);
  step.beta2 = static_cast<float>(moment.keep);
  step.one_minus_beta2 = static_cast<float>(moment.add);
  step.decay = static_cast<float>(1.0 - info.learning_rate * info.weight_decay);
  step.step_size = static_cast<float>(info.learning_rate / (1.0 - std::pow(beta1, t)));
  step.inverse_root_bias = static_cast<float>(1.0 / std::sqrt(moment.bias));
  step.eps = static_cast<float>(eps);
  step.gradient_scale = static_cast<float>(info.gradient_scale);
  return step;
}

at::Tensor momentum_section_tensors(const at::Tensor& w, const at::Tensor& g, const at::Tensor& m,
                                    const AdamOptions& options, const StepInfo& info) {
  const auto old = w.clone();
  m.mul_(options.beta1).add_(g, 1.0 - options.beta1);
  w.mul_(1.0 - info.learning_rate * info.weight_decay);
  w.sub_(m * (info.learning_rate / (1.0 - std::pow(options.beta1, double(info.step)))));
  return (w - old).to(at::kDouble).square().sum();
}

at::Tensor adam_section_tensors(const at::Tensor& w, const at::Tensor& g, const at::Tensor& m,
                                const at::Tensor& v, const AdamOptions& options,
                                const StepInfo& info) {
  const auto t = static_cast<double>(info.step);
  const auto old = w.clone();
  m.mul_(options.beta1).add_(g, 1.0 - options.beta1);
  const auto denominator =
      v.sqrt().div_(std::sqrt(options.second_moment(info.step).bias)).add_(options.eps);
  w.mul_(1.0 - info.learning_rate * info.weight_decay);
  w.sub_(m / denominator * (info.learning_rate / (1.0 - std::pow(options.beta1, t))));
  return (w - old).to(at::kDouble).square().sum();
}

}  // namespace blockwise
