#include "core/losses/linear_cross_entropy.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/base/batch.hpp"
#include "core/base/error.hpp"
#include "core/kernels/cross_entropy_rows.hpp"

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

  // x, slope: the features of rows [begin, begin + rows of slope) and dL/dz, in the weight's dtype.
  void add(const at::Tensor& x, const at::Tensor& slope, const Linear& head, std::int64_t begin) {
    auto rows = features.narrow(0, begin, slope.size(0));
    at::mm_out(rows, slope, head.weight);
    if (slope.size(0) == features.size(0)) {
      weight = slope.t().mm(x);
      if (head.bias.defined()) bias = slope.sum(0);
      return;
    }
    if (!weight.defined()) make_sums(head);
    if (weight.scalar_type() == x.scalar_type()) {
      weight.addmm_(slope.t(), x);
    } else {
      add_wide(x, slope);
    }
    if (bias.defined()) bias += slope.sum(0);
  }

  // Sums over chunks are float32 at least, as inside one product over all rows.
  void make_sums(const Linear& head) {
    const auto wide = head.weight.options().dtype(wide_type(head.weight));
    weight = at::zeros(head.weight.sizes(), wide);
    if (head.bias.defined()) bias = at::zeros(head.bias.sizes(), wide);
  }

  // Some rows of the weight at a time: a mixed sum widens its argument first, which of all rows
  // would be the largest tensor of the pass.
  void add_wide(const at::Tensor& x, const at::Tensor& slope) {
    constexpr std::int64_t kRows = 1024;
    for (std::int64_t begin = 0; begin < weight.size(0); begin += kRows) {
      const auto rows = std::min(kRows, weight.size(0) - begin);
      const auto part = slope.narrow(1, begin, rows).t().mm(x);
      weight.narrow(0, begin, rows).add_(part.to(weight.scalar_type()));
    }
  }
};

// The sum of the rows' losses; `scores`, contiguous [rows, classes], becomes weight dL/dz of the
// sum where asked.
template <typename T, typename Bits = T>
double sum_of_rows(const at::Tensor& scores, const at::Tensor& targets, float weight,
                   bool with_slope) {
  const auto rows = scores.size(0), classes = scores.size(1);
  auto* z = reinterpret_cast<Bits*>(scores.data_ptr<T>());
  const auto indices = targets.contiguous();
  const auto* target = indices.const_data_ptr<std::int64_t>();
  std::vector<double> losses(static_cast<std::size_t>(rows));
  at::parallel_for(
      0, rows, std::max<std::int64_t>(1, (1 << 14) / classes), [&](auto begin, auto end) {
        for (auto i = begin; i < end; ++i) {
          auto* row = z + i * classes;
          losses[static_cast<std::size_t>(i)] =
              cross_entropy_row(row, classes, target[i], weight, with_slope ? row : nullptr);
        }
      });
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

// Elsewhere than on a CPU, and in float64. Returns dL/dz in the scores' place.
at::Tensor sum_by_tensors(at::Tensor& scores, const at::Tensor& targets, const at::Tensor& count,
                          bool with_slope) {
  const auto type = scores.scalar_type();
  const auto counts = targets.ne(kIgnoredTarget).unsqueeze(1);
  const auto index = targets.clamp_min(0).unsqueeze(1);
  scores = at::log_softmax(scores.to(wide_type(scores)), 1);
  const auto loss = -(scores.gather(1, index) * counts).sum();
  if (with_slope) {
    scores.exp_();
    scores.scatter_add_(1, index, at::full_like(index, -1, scores.options()));
    scores.mul_(counts);
    scores = scores.div_(count).to(type);
  }
  return loss;
}

// Turns scores into the slope of the mean over `count` targets where asked.
at::Tensor sum_of_losses(at::Tensor& scores, const at::Tensor& targets, const at::Tensor& count,
                         bool with_kernel, bool with_slope) {
  if (!with_kernel) return sum_by_tensors(scores, targets, count, with_slope);
  const auto type = scores.scalar_type();
  const auto wide = scores.options().dtype(wide_type(scores));
  if (scores.is_meta()) return at::zeros({}, wide);
  const float weight = 1.0F / count.item<float>();
  const auto sum = type == at::kFloat ? sum_of_rows<float>(scores, targets, weight, with_slope)
                                      : sum_of_rows<at::BFloat16, std::uint16_t>(
                                            scores, targets, weight, with_slope);
  return at::full({}, sum, wide);
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  // Everything in one dtype `type`, that of the products.
  static Variable forward(AutogradContext* context, const Variable& features,
                          const Variable& weight, const std::optional<at::Tensor>& bias,
                          const Variable& targets, std::int64_t chunk_rows, at::ScalarType type,
                          bool with_kernel, bool with_gradient) {
    const auto x = features.to(type);
    const Linear head{weight.to(type), bias ? bias->to(type) : at::Tensor()};
    HeadGradients gradients;
    if (with_gradient) gradients.features = at::empty_like(x);
    const auto count = targets.ne(kIgnoredTarget).sum().to(wide_type(x));
    auto loss = at::zeros({}, x.options().dtype(wide_type(x)));
    for (std::int64_t begin = 0; begin < x.size(0); begin += chunk_rows) {
      const auto rows = std::min(chunk_rows, x.size(0) - begin);
      const auto chunk = x.narrow(0, begin, rows);
      auto scores = head(chunk, {});
      loss +=
          sum_of_losses(scores, targets.narrow(0, begin, rows), count, with_kernel, with_gradient);
      if (with_gradient) gradients.add(chunk, scores, head, begin);
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
          "the training loss was differentiated twice: compute Hessians with "
          "twice_differentiable");
    }
    const auto& scale = outputs[0];
    const auto saved = context->get_saved_variables();
    const auto type = context->saved_data["dtype"].toScalarType();
    variable_list result(8);
    // Reading the scale costs nothing on a CPU, a pass over the weight's gradient does.
    const bool is_scaled = !scale.is_cpu() || scale.item<double>() != 1.0;
    for (std::size_t i = 0; i < saved.size(); ++i) {
      result[i] = saved[i].defined() && is_scaled ? saved[i].mul_(scale) : saved[i];
    }
    result[0] = result[0].to(type);
    return result;
  }
};

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& features, const Linear& head,
                                const at::Tensor& targets, const ForwardContext& context) {
  const bool with_gradient =
      at::GradMode::is_enabled() && (features.requires_grad() || head.weight.requires_grad());
  const auto bias = head.bias.defined() ? std::optional(head.bias) : std::nullopt;
  const auto type = context.autocast ? at::kBFloat16 : head.weight.scalar_type();
  const auto rows = context.loss_chunk_rows > 0 ? context.loss_chunk_rows
                                                : std::max<std::int64_t>(1, features.size(0));
  const bool with_kernel =
      context.cpu_kernels && !features.is_cuda() && (type == at::kFloat || type == at::kBFloat16);
  return LinearCrossEntropy::apply(features, head.weight, bias, targets, rows, type, with_kernel,
                                   with_gradient);
}

}  // namespace blockwise
