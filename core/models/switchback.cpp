#include "core/models/switchback.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr double kLargestCode = 127.0;

struct Codes {
  at::Tensor values;  // int8
  at::Tensor scale;   // of the largest code; not finite where a value is not
};

// Not-a-numbers have no integer: they get some code, and their scale makes the product one again,
// or nothing where it is 0. (fmax knows them, clamp does not.)
at::Tensor codes_of(const at::Tensor& x, const at::Tensor& scale) {
  const auto lowest = at::full({}, -kLargestCode, scale.options());
  const auto codes = at::fmax(x * (kLargestCode / scale), lowest);
  return codes.clamp_max(kLargestCode).round_().to(at::kChar);
}

Codes code_rows(const at::Tensor& x) {
  const auto scale = x.abs().amax(1, /*keepdim=*/true).to(at::kFloat);
  return {codes_of(x.to(at::kFloat), scale), scale};
}

Codes code_tensor(const at::Tensor& x) {
  const auto scale = x.abs().amax().to(at::kFloat);
  return {codes_of(x.to(at::kFloat), scale), scale};
}

// Of codes [m, k] and [k, n]. The meta device knows no integer product.
at::Tensor integer_product(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_meta()) return at::empty({a.size(0), b.size(1)}, a.options().dtype(at::kInt));
  return at::_int_mm(a, b);
}

// `weight` is [k, n] here: the layer's, transposed or not.
at::Tensor coded_product(const at::Tensor& rows, const Codes& weight, const at::Tensor& values) {
  const auto coded = code_rows(rows);
  const auto product = integer_product(coded.values, values).to(at::kFloat);
  const auto scale = coded.scale * (weight.scale / (kLargestCode * kLargestCode));
  return (product * scale).to(rows.scalar_type());
}

class SwitchBack : public torch::autograd::Function<SwitchBack> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    const auto coded = code_tensor(weight);
    const auto y = coded_product(x.flatten(0, -2), coded, coded.values.t());
    auto shape = x.sizes().vec();
    shape.back() = weight.size(0);
    return (bias ? y + *bias : y).view(shape);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto g = gradients[0].flatten(0, -2);
    at::Tensor of_x, of_bias;
    if (context->needs_input_grad(0)) {
      const auto coded = code_tensor(weight);
      of_x = coded_product(g, coded, coded.values).view(x.sizes());
    }
    if (context->saved_data["bias"].toBool()) of_bias = g.sum(0);
    return {of_x, g.t().matmul(x.flatten(0, -2)), of_bias};
  }
};

}  // namespace

at::Tensor switchback_linear(const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& bias) {
  return SwitchBack::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

}  // namespace blockwise
