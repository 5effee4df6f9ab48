// The one place outside the models that runs LibTorch's autograd for training.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// Adds d loss / d parameter to every parameter's gradient. loss: a scalar with a graph, which is
// freed.
void backward(const at::Tensor& loss);

}  // namespace blockwise
