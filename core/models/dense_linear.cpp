#include "core/models/dense_linear.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/dense_product.hpp"
#include "core/base/error.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

class DenseLinear : public torch::autograd::Function<DenseLinear> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const std::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    return dense_product(x, weight, bias.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError("a linear layer of the training pass was differentiated twice");
    }
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto g = gradients[0].flatten(0, -2);
    at::Tensor of_x, of_weight, of_bias;
    if (context->needs_input_grad(0)) of_x = dense_product(g, weight.t()).view(x.sizes());
    if (context->needs_input_grad(1)) of_weight = g.t().mm(x.flatten(0, -2));
    if (context->saved_data["bias"].toBool()) of_bias = g.sum(0);
    return {of_x, of_weight, of_bias};
  }
};

}  // namespace

at::Tensor dense_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return DenseLinear::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

}  // namespace blockwise
