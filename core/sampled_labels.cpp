#include "core/sampled_labels.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace blockwise {
namespace {

constexpr std::int64_t kMostRows = 512;

// The first label up to which the probabilities sum to more than u, of every row.
at::Tensor drawn(const at::Tensor& logits, const at::Tensor& u) {
  const auto sums = at::softmax(logits.to(at::kFloat), 1).cumsum(1);
  const auto last = sums.size(1) - 1;
  const auto below = sums.le((u * sums.select(1, last)).unsqueeze(1));
  return below.sum(1).clamp_max(last);
}

}  // namespace

bool has_labels(const Model& model) { return &model.output_loss() == &cross_entropy_loss(); }

at::Tensor sampled_labels(const Model& model, const Batch& batch, ForwardContext& context,
                          at::Generator generator) {
  const at::NoGradGuard no_grad;
  const auto features = model.features(batch.inputs, context);
  const auto rows = features.reshape({-1, features.size(-1)});
  const auto u = at::rand({rows.size(0)}, generator, at::kFloat).to(rows.device());
  const auto most =
      context.loss_chunk_rows > 0 ? std::min(context.loss_chunk_rows, kMostRows) : kMostRows;
  std::vector<at::Tensor> labels;
  for (std::int64_t first = 0; first < rows.size(0); first += most) {
    const auto count = std::min(most, rows.size(0) - first);
    const auto logits = model.head()(rows.narrow(0, first, count), context);
    labels.push_back(drawn(logits, u.narrow(0, first, count)));
  }
  const auto all = at::cat(labels).view(batch.targets.sizes());
  return at::where(batch.targets.eq(kIgnoredTarget), batch.targets, all);
}

}  // namespace blockwise
