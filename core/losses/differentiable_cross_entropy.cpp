#include "core/losses/differentiable_cross_entropy.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/batch.hpp"
#include "core/base/error.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor one_hot_index(const at::Tensor& targets) { return targets.clamp_min(0).unsqueeze(1); }

// dL/dz * scale as a function of z whose own backward is the closed form.
class CrossEntropySlope : public torch::autograd::Function<CrossEntropySlope> {
 public:
  static Variable forward(AutogradContext* context, const Variable&, const Variable& scale,
                          const at::Tensor& probabilities, const at::Tensor& targets,
                          const at::Tensor& weights) {
    auto slope = probabilities.clone();
    slope.scatter_add_(1, one_hot_index(targets), at::full_like(weights, -1));
    slope.mul_(weights * scale);
    context->save_for_backward({probabilities, weights, scale});
    return slope;
  }

  // `scale` is the loss's own incoming gradient, a constant here.
  static variable_list backward(AutogradContext* context, variable_list outputs) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError("the cross-entropy was differentiated three times");
    }
    const auto saved = context->get_saved_variables();
    const auto product = cross_entropy_hessian_product(saved[0], saved[1], outputs[0]);
    return {product.mul_(saved[2]), {}, {}, {}, {}};
  }
};

class CrossEntropy : public torch::autograd::Function<CrossEntropy> {
 public:
  static Variable forward(AutogradContext* context, const Variable& logits,
                          const at::Tensor& targets, const at::Tensor& weights) {
    const auto log_probabilities = at::log_softmax(logits, 1);
    const auto picked = log_probabilities.gather(1, one_hot_index(targets));
    context->save_for_backward({logits, log_probabilities.exp(), targets, weights});
    return -(picked * weights).sum();
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const auto saved = context->get_saved_variables();
    return {CrossEntropySlope::apply(saved[0], outputs[0], saved[1], saved[2], saved[3]), {}, {}};
  }
};

}  // namespace

at::Tensor target_weights(const at::Tensor& targets, const at::Tensor& count) {
  return targets.ne(kIgnoredTarget).to(count.scalar_type()).div_(count).unsqueeze(1);
}

at::Tensor cross_entropy_hessian_product(const at::Tensor& probabilities, const at::Tensor& weights,
                                         const at::Tensor& u) {
  auto product = probabilities * u;
  const auto along = product.sum(1, /*keepdim=*/true);
  return product.addcmul_(probabilities, along, -1).mul_(weights);
}

at::Tensor differentiable_cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                        const at::Tensor& count) {
  return CrossEntropy::apply(logits, targets, target_weights(targets, count));
}

}  // namespace blockwise
