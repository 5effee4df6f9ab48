// Adam as GaLore's code and its descendants write it, on whatever small tensor they keep moments
// of:
//   m <- beta1 m + (1 - beta1) r;  v <- beta2 v + (1 - beta2) r^2
//   w <- (1 - lr wd) (w - lr sqrt(1 - beta2^t) / (1 - beta1^t) d),  d made of m / (sqrt(v) + eps)
// eps stands before the correction, so that it is eps / sqrt(1 - beta2^t) of torch's; decay comes
// after the step. Also Fira's bound on how fast a step may grow.
#pragma once

#include "core/base/fields.hpp"
#include "optimizers/parameter_step.hpp"

namespace blockwise {

struct GaloreAdam {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-6;

  void visit(FieldVisitor& v);
  // Updates m and v.
  void average(const at::Tensor& m, const at::Tensor& v, const at::Tensor& r) const;
  // m / (sqrt(v) + eps)
  at::Tensor direction(const at::Tensor& m, const at::Tensor& v) const;
  // Decay after the step. Returns the sum of (w_new - w_old)^2.
  at::Tensor step(const ParameterStep& p, const StepScope& scope, const at::Tensor& d,
                  double scale) const;
};

// Chen et al., "Fira", arXiv 2410.01623, Sec. 4.2: what a step of this norm, 0-d, is divided by so
// that it exceeds the last one's by at most 1 %. `kept` is the last norm, state of one value; the
// new one is written there. 1 at the first step and after a step of norm 0, where the authors' code
// would divide by about 1e-8.
at::Tensor growth_divisor(const at::Tensor& norm, const at::Tensor& kept);

}  // namespace blockwise
