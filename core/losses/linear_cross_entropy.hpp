// Linear layer and mean cross-entropy in one, with the gradient computed where the logits are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/base/linear.hpp"

namespace blockwise {

// features [N, width], head [classes, width], targets int64 [N] (kIgnoredTarget does not count).
// Mean over the targets that count, in nats, float32 (float64 for float64 features). Logits are
// computed as Linear does it, context.loss_chunk_rows rows at a time, or all where that is 0. With
// z = W f + b and p = softmax(z), the gradients
//   dL/dz = (p - e_target) / count,   dL/df = W^T dL/dz,   dL/dW = sum dL/dz f^T
// are computed with each chunk while its logits are there, so nothing is computed twice; they are
// held until the backward pass: one tensor like the features and one like the weight (float32 at
// least where it is a sum over chunks). On a CPU in float32 and bfloat16 the logits become dL/dz in
// place, one row at a time (cross_entropy_rows.hpp).
// Once differentiable: a second derivative throws InvariantError.
at::Tensor linear_cross_entropy(const at::Tensor& features, const Linear& head,
                                const at::Tensor& targets, const ForwardContext& context);

}  // namespace blockwise
