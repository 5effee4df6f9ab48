// What AdamW and Adam-mini share: their options and a step's constants.
#pragma once

#include "core/base/fields.hpp"
#include "optimizers/tensor_steps.hpp"

namespace blockwise {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;

  // One step of a second moment: v <- keep v + add g'^2, corrected by 1 / bias. beta2 = 1 is Adam's
  // limit that theory takes (Zhang et al., arXiv 2406.16793, Sec. 2): the first squared gradient
  // stays, v_t = g_1'^2.
  struct MomentStep {
    double keep, add, bias;
  };
  MomentStep second_moment(std::int64_t step) const;

  void visit(FieldVisitor& v);
  // In double; bias corrections 1 - beta^t as in Kingma and Ba, arXiv 1412.6980, Algorithm 1.
  kernels::AdamStep step(const StepScope& scope, double weight_decay) const;
  // lr / (1 - beta1^t) and lr * weight_decay.
  StepSize size(const StepScope& scope, double weight_decay) const;
};

// Some elements: w, g and m have one shape, v, up to date, any that broadcasts against it.
struct AdamTensors {
  at::Tensor w, g, m, v;
};

// One step of them in plain tensor operations. Returns the sum of (w_new - w_old)^2.
at::Tensor adam_tensors(const AdamTensors& x, const AdamOptions& options, const StepScope& scope,
                        const StepSize& size);

// A step along the average of gradients, Adam's with v = 1 and no eps. Returns the sum of
// (w_new - w_old)^2.
at::Tensor momentum_tensors(const at::Tensor& w, const at::Tensor& g, const at::Tensor& m,
                            double beta1, const StepSize& size);

}  // namespace blockwise
