// Labels that a model draws from its own output, for estimates of curvature: with them E[g g^T] is
// the Gauss-Newton matrix of the cross-entropy, without them the empirical Fisher matrix.
#pragma once

#include <ATen/core/Generator.h>

#include "core/model.hpp"

namespace blockwise {

// Whether the model's loss is that of labels: the cross-entropy.
bool has_labels(const Model& model);

// Like batch.targets: where a target counts, a label drawn from softmax(logits) there, by one
// number of the generator per target; kIgnoredTarget elsewhere. Without a graph; a function of
// logits and generator alone. Holds the logits of context.loss_chunk_rows rows, at most 512, at a
// time. Cost: a forward pass.
at::Tensor sampled_labels(const Model& model, const Batch& batch, ForwardContext& context,
                          at::Generator generator);

}  // namespace blockwise
