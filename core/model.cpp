#include "core/model.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "core/losses/linear_cross_entropy.hpp"

namespace blockwise {

at::Tensor Model::logits(const at::Tensor& inputs, ForwardContext& context) const {
  const auto rows = features(inputs, context);
  return head()(rows, context);
}

// The cross-entropy is float32 at least, whatever the logits are.
at::Tensor Model::loss(const Batch& batch, ForwardContext& context) const {
  const auto targets = batch.targets.reshape({-1});
  if (!context.twice_differentiable) {
    const auto rows = features(batch.inputs, context);
    return linear_cross_entropy(rows.reshape({-1, rows.size(-1)}), head(), targets, context);
  }
  auto scores = logits(batch.inputs, context);
  scores = scores.reshape({-1, scores.size(-1)});
  if (scores.element_size() < 4) scores = scores.to(at::kFloat);
  return at::cross_entropy_loss(scores, targets, {}, at::Reduction::Mean, kIgnoredTarget);
}

}  // namespace blockwise
