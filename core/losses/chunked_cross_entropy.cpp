#include "core/losses/chunked_cross_entropy.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/batch.hpp"
#include "core/base/error.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::ScalarType wide_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Gradients of the mean loss, filled chunk by chunk; tensors stay undefined where nobody asks.
struct HeadGradients {
  at::Tensor features, weight, bias;

  HeadGradients(const at::Tensor& x, const Linear& head, bool wanted) {
    if (!wanted) return;
    features = at::empty_like(x);
    const auto wide = head.weight.options().dtype(wide_type(head.weight));
    weight = at::zeros(head.weight.sizes(), wide);
    if (head.bias.defined()) bias = at::zeros(head.bias.sizes(), wide);
  }

  // slope: dL/dz of rows [begin, begin + rows of slope), in the weight's dtype.
  void add(const at::Tensor& x, const at::Tensor& slope, const Linear& head, std::int64_t begin) {
    auto rows = features.narrow(0, begin, slope.size(0));
    at::mm_out(rows, slope, head.weight);
    if (weight.scalar_type() == x.scalar_type()) {
      weight.addmm_(slope.t(), x);
    } else {
      add_wide(x, slope);
    }
    if (bias.defined()) bias += slope.sum(0);
  }

  // Sums over chunks are float32 at least, as inside one product over all rows. Some rows of the
  // weight at a time: a mixed sum widens its argument first, which of all rows would be the
  // largest tensor of the pass.
  void add_wide(const at::Tensor& x, const at::Tensor& slope) {
    constexpr std::int64_t kRows = 1024;
    for (std::int64_t begin = 0; begin < weight.size(0); begin += kRows) {
      const auto rows = std::min(kRows, weight.size(0) - begin);
      const auto part = slope.narrow(1, begin, rows).t().mm(x);
      weight.narrow(0, begin, rows).add_(part.to(weight.scalar_type()));
    }
  }
};

// Sum of the losses of some rows; turns `scores` into dL/dz of the sum where asked.
at::Tensor chunk_loss(at::Tensor& scores, const at::Tensor& targets, bool with_slope) {
  const auto counts = targets.ne(kIgnoredTarget).unsqueeze(1);
  const auto index = targets.clamp_min(0).unsqueeze(1);
  scores = at::log_softmax(scores, 1);
  const auto loss = -(scores.gather(1, index) * counts).sum();
  if (with_slope) {
    scores.exp_();
    scores.scatter_add_(1, index, at::full_like(index, -1, scores.options()));
    scores.mul_(counts);
  }
  return loss;
}

class ChunkedCrossEntropy : public torch::autograd::Function<ChunkedCrossEntropy> {
 public:
  // Everything in one dtype `type`, that of the products.
  static Variable forward(AutogradContext* context, const Variable& features,
                          const Variable& weight, const std::optional<at::Tensor>& bias,
                          const Variable& targets, std::int64_t chunk_rows, at::ScalarType type,
                          bool with_gradient) {
    const auto x = features.to(type);
    const Linear head{weight.to(type), bias ? bias->to(type) : at::Tensor()};
    HeadGradients gradients(x, head, with_gradient);
    const auto count = targets.ne(kIgnoredTarget).sum().to(wide_type(x));
    auto loss = at::zeros({}, x.options().dtype(wide_type(x)));
    for (std::int64_t begin = 0; begin < x.size(0); begin += chunk_rows) {
      const auto rows = std::min(chunk_rows, x.size(0) - begin);
      const auto chunk = x.narrow(0, begin, rows);
      auto scores = head(chunk, {}).to(wide_type(x));
      loss += chunk_loss(scores, targets.narrow(0, begin, rows), with_gradient);
      if (!with_gradient) continue;
      scores.div_(count);
      gradients.add(chunk, scores.to(type), head, begin);
    }
    if (with_gradient) {
      context->save_for_backward({gradients.features, gradients.weight, gradients.bias});
      context->saved_data["dtype"] = features.scalar_type();
    }
    return loss / count;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError(
          "the chunked cross-entropy was differentiated twice: compute Hessians with "
          "loss_chunk_rows = 0");
    }
    const auto& scale = outputs[0];
    const auto saved = context->get_saved_variables();
    const auto type = context->saved_data["dtype"].toScalarType();
    variable_list result(7);
    for (std::size_t i = 0; i < saved.size(); ++i) {
      if (saved[i].defined()) result[i] = saved[i].mul_(scale);
    }
    result[0] = result[0].to(type);
    return result;
  }
};

}  // namespace

at::Tensor chunked_cross_entropy(const at::Tensor& features, const Linear& head,
                                 const at::Tensor& targets, const ForwardContext& context) {
  const bool with_gradient =
      at::GradMode::is_enabled() && (features.requires_grad() || head.weight.requires_grad());
  const auto bias = head.bias.defined() ? std::optional(head.bias) : std::nullopt;
  const auto type = context.autocast ? at::kBFloat16 : head.weight.scalar_type();
  return ChunkedCrossEntropy::apply(features, head.weight, bias, targets, context.loss_chunk_rows,
                                    type, with_gradient);
}

}  // namespace blockwise
