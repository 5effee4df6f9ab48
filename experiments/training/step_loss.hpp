// The loss of a step from those of its micro-batches, which stay on the device until the step is
// done: reading one waits for everything that the device was asked for.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace blockwise {

class StepLoss {
 public:
  // share: a micro-batch's part of the step's loss, a scalar.
  void add(const at::Tensor& share) { shares_.push_back(share.detach()); }
  // Of a micro-batch without a target: 0.
  void add_nothing() { shares_.emplace_back(); }
  // In the order of adding, in double. One transfer to the host.
  std::vector<double> read() const;

 private:
  std::vector<at::Tensor> shares_;
};

}  // namespace blockwise
