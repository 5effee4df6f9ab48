// Linear layer and mean cross-entropy in one, without ever holding all logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/base/linear.hpp"

namespace blockwise {

// features [N, width], head [classes, width], targets int64 [N] (kIgnoredTarget does not count).
// Mean over the targets that count, in nats, float32 (float64 for float64 features). Logits exist
// for context.loss_chunk_rows rows at a time, computed as Linear does it. With z = W f + b and
// p = softmax(z), the gradients
//   dL/dz = (p - e_target) / count,   dL/df = W^T dL/dz,   dL/dW = sum dL/dz f^T
// are computed with each chunk while its logits are there, so nothing is computed twice; they are
// held until the backward pass: one tensor like the features and one like the weight.
// Once differentiable: a second derivative throws InvariantError.
at::Tensor chunked_cross_entropy(const at::Tensor& features, const Linear& head,
                                 const at::Tensor& targets, const ForwardContext& context);

}  // namespace blockwise
