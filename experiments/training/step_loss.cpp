#include "experiments/training/step_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <numeric>

namespace blockwise {

double StepLoss::read() const {
  if (shares_.empty()) return 0.0;
  const at::NoGradGuard no_grad;
  const auto host = at::stack(shares_).to(at::kCPU, at::kDouble);
  const auto* values = host.const_data_ptr<double>();
  return std::accumulate(values, values + host.numel(), 0.0);
}

}  // namespace blockwise
