// Cross-entropy that differentiates twice in closed form.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blockwise {

// Mean over the targets that count (not kIgnoredTarget) of -log softmax(z)_target; logits z [N, C],
// targets int64 [N]. With p = softmax(z) the derivatives are
//   dL/dz = (p - e_target) / count,     d/dz <dL/dz, u> = (p * u - p (p . u)) / count   by row,
// so that one tensor of the logits' size is held for all products, where LibTorch's double backward
// through log-softmax holds several. count: 0-d tensor of the logits' type, or what is to divide
// instead (the tokens of several batches). Differentiable twice; a third derivative is not
// supported.
at::Tensor differentiable_cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                        const at::Tensor& count);

// The Hessian of that loss in the logits times u [N, C], from logits without a graph.
at::Tensor cross_entropy_hessian_product(const at::Tensor& probabilities, const at::Tensor& weights,
                                         const at::Tensor& u);

// [N, 1]: 1 / count for targets that count, 0 for the others.
at::Tensor target_weights(const at::Tensor& targets, const at::Tensor& count);

}  // namespace blockwise
