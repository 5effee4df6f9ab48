#include "core/autograd.hpp"

#include <torch/csrc/autograd/autograd.h>

namespace blockwise {

void backward(const at::Tensor& loss) { torch::autograd::backward({loss}, {}); }

}  // namespace blockwise
