// The constants of a step as kernels get them: step 3, rate 1e-2, decay 0.1, gradients times 0.7.
#pragma once

#include "optimizers/adam_options.hpp"

namespace blockwise::testing {

inline kernels::AdamStep adam_step() {
  kernels::Workspace space;
  return AdamOptions{0.9, 0.95, 1e-8}.step({3, 1e-2, 0.7, 0, space}, 0.1);
}

inline kernels::SgdStep sgd_step(bool nesterov) {
  auto step = kernels::SgdStep::of(1e-2, 0.1, 0.7);
  step.momentum = 0.9f;
  step.nesterov = nesterov;
  return step;
}

}  // namespace blockwise::testing
