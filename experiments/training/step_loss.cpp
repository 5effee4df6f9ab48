#include "experiments/training/step_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace blockwise {

std::vector<double> StepLoss::read() const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> defined;
  for (const auto& share : shares_) {
    if (share.defined()) defined.push_back(share);
  }
  std::vector<double> values(shares_.size(), 0.0);
  if (defined.empty()) return values;
  const auto host = at::stack(defined).to(at::kCPU, at::kDouble);
  const auto* next = host.const_data_ptr<double>();
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    if (shares_[i].defined()) values[i] = *next++;
  }
  return values;
}

}  // namespace blockwise
