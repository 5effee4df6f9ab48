// A linear layer whose products are dense_product()'s, forward and for the gradient of its inputs.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// x [.., in], weight [out, in], bias [out] or undefined -> [.., out]; is_dense_product(x, weight).
// Holds x and the weight for the backward pass, as at::linear does. Once differentiable: a second
// derivative throws InvariantError.
at::Tensor dense_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace blockwise
