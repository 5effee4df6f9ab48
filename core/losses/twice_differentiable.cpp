#include "core/losses/twice_differentiable.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

void require_last_derivative(const char* operation) {
  if (at::GradMode::is_enabled()) {
    throw InvariantError(fmt::format("{} was differentiated three times", operation));
  }
}

// ---- activations --------------------------------------------------------------------------------

struct Derivatives {
  at::Tensor first, second;
};

// g(x) = c (x + a x^3), t = tanh g:  f' = (1 + t) / 2 + x (1 - t^2) g' / 2,
// f'' = (1 - t^2) (g' + x g'' / 2 - x t g'^2).
Derivatives gelu_tanh_derivatives(const at::Tensor& x) {
  constexpr double c = 0.7978845608028654, a = 0.044715;  // sqrt(2 / pi)
  const auto square = x * x;
  const auto t = (square * a).add_(1.0).mul_(x).mul_(c).tanh_();
  const auto slope = (square * (3.0 * a * c)).add_(c);
  const auto rest = (t * t).neg_().add_(1.0);
  auto first = (x * rest).mul_(slope).add_(t).add_(1.0).mul_(0.5);
  auto second = (square * (3.0 * a * c)).add_(slope);  // g' + x g'' / 2
  second.sub_((slope * slope).mul_(x).mul_(t)).mul_(rest);
  return {std::move(first), std::move(second)};
}

// With the normal distribution P and its density p:  f' = P + x p,  f'' = p (2 - x^2).
Derivatives gelu_derivatives(const at::Tensor& x) {
  constexpr double root_half = 0.7071067811865476, peak = 0.3989422804014327;  // 1 / sqrt(2 pi)
  const auto square = x * x;
  const auto density = (square * -0.5).exp_().mul_(peak);
  auto first = (x * -root_half).erfc_().mul_(0.5).addcmul_(x, density);
  auto second = (2.0 - square).mul_(density);
  return {std::move(first), std::move(second)};
}

// With q the logistic function: f' = q (1 + x (1 - q)), f'' = q (1 - q) (2 + x (1 - 2 q)).
Derivatives silu_derivatives(const at::Tensor& x) {
  const auto q = at::sigmoid(x);
  const auto rest = 1.0 - q;
  auto first = (x * rest).add_(1.0).mul_(q);
  auto second = (rest - q).mul_(x).add_(2.0).mul_(q).mul_(rest);
  return {std::move(first), std::move(second)};
}

class ActivationSlope : public torch::autograd::Function<ActivationSlope> {
 public:
  static Variable forward(AutogradContext* context, const Variable& s, const Variable& /*x*/,
                          const at::Tensor& first, const at::Tensor& second) {
    context->save_for_backward({first, s * second});
    return s * first;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    require_last_derivative("an activation");
    const auto saved = context->get_saved_variables();
    return {outputs[0] * saved[0], outputs[0] * saved[1], {}, {}};
  }
};

// Curve has value(x) and derivatives(x).
template <typename Curve>
class Activation : public torch::autograd::Function<Activation<Curve>> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x) {
    context->save_for_backward({x});
    return Curve::value(x);
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const auto x = context->get_saved_variables()[0];
    const auto slopes = Curve::derivatives(x.detach());
    return {ActivationSlope::apply(outputs[0], x, slopes.first, slopes.second)};
  }
};

struct GeluTanh {
  static at::Tensor value(const at::Tensor& x) { return at::gelu(x, "tanh"); }
  static Derivatives derivatives(const at::Tensor& x) {
    at::NoGradGuard no_grad;
    return gelu_tanh_derivatives(x);
  }
};

struct Gelu {
  static at::Tensor value(const at::Tensor& x) { return at::gelu(x); }
  static Derivatives derivatives(const at::Tensor& x) {
    at::NoGradGuard no_grad;
    return gelu_derivatives(x);
  }
};

struct Silu {
  static at::Tensor value(const at::Tensor& x) { return at::silu(x); }
  static Derivatives derivatives(const at::Tensor& x) {
    at::NoGradGuard no_grad;
    return silu_derivatives(x);
  }
};

// ---- normalization ------------------------------------------------------------------------------

at::Tensor row_mean(const at::Tensor& x) { return x.mean(-1, /*keepdim=*/true); }

// J a and c(a).
std::pair<at::Tensor, at::Tensor> normalization_jacobian(const at::Tensor& a, const at::Tensor& z,
                                                         const at::Tensor& r, bool centred) {
  const auto along = row_mean(a * z);
  auto product = centred ? a - row_mean(a) : a.clone();
  product.addcmul_(z, along, -1).mul_(r);
  return {product, along};
}

class NormalizationSlope : public torch::autograd::Function<NormalizationSlope> {
 public:
  static Variable forward(AutogradContext* context, const Variable& s, const Variable& /*x*/,
                          const at::Tensor& z, const at::Tensor& r, bool centred) {
    const auto [product, along] = normalization_jacobian(s, z, r, centred);
    context->save_for_backward({z, r, product, along});
    context->saved_data["centred"] = centred;
    return product;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    require_last_derivative("a normalization");
    const auto saved = context->get_saved_variables();
    const auto &z = saved[0], &r = saved[1], &js = saved[2], &cs = saved[3];
    const bool centred = context->saved_data["centred"].toBool();
    const auto [ju, cu] = normalization_jacobian(outputs[0], z, r, centred);
    const auto negative = -r;
    auto dx = z * row_mean(outputs[0] * js).mul_(negative);
    dx.addcmul_(ju, cs * negative).addcmul_(js, cu * negative);
    return {ju, dx, {}, {}, {}};
  }
};

class Normalization : public torch::autograd::Function<Normalization> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, double eps, bool centred) {
    const auto y = centred ? x - row_mean(x) : x;
    const auto r = row_mean(y * y).add_(eps).rsqrt_();
    const auto z = y * r;
    context->save_for_backward({x, z, r});
    context->saved_data["centred"] = centred;
    return z;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const auto saved = context->get_saved_variables();
    return {NormalizationSlope::apply(outputs[0], saved[0], saved[1].detach(), saved[2].detach(),
                                      context->saved_data["centred"].toBool()),
            {},
            {}};
  }
};

// ---- softmax ------------------------------------------------------------------------------------

class SoftmaxSlope : public torch::autograd::Function<SoftmaxSlope> {
 public:
  static Variable forward(AutogradContext* context, const Variable& s, const Variable& /*scores*/,
                          const at::Tensor& p) {
    auto b = s - (p * s).sum(-1, /*keepdim=*/true);
    auto slope = p * b;
    context->save_for_backward({p, b});
    return slope;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    require_last_derivative("a softmax");
    const auto saved = context->get_saved_variables();
    const auto &p = saved[0], &b = saved[1];
    auto pa = p * outputs[0];
    pa.addcmul_(p, pa.sum(-1, /*keepdim=*/true), -1);
    auto dx = pa * b;
    dx.addcmul_(p, dx.sum(-1, /*keepdim=*/true), -1);
    return {pa, dx, {}};
  }
};

class Softmax : public torch::autograd::Function<Softmax> {
 public:
  static Variable forward(AutogradContext* context, const Variable& scores,
                          const at::Tensor& hidden) {
    const auto p =
        at::softmax(scores.masked_fill(hidden, -std::numeric_limits<double>::infinity()), -1);
    context->save_for_backward({scores, p});
    return p;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const auto saved = context->get_saved_variables();
    return {SoftmaxSlope::apply(outputs[0], saved[0], saved[1].detach()), {}};
  }
};

}  // namespace

at::Tensor twice_differentiable_gelu_tanh(const at::Tensor& x) {
  return Activation<GeluTanh>::apply(x);
}

at::Tensor twice_differentiable_gelu(const at::Tensor& x) { return Activation<Gelu>::apply(x); }

at::Tensor twice_differentiable_silu(const at::Tensor& x) { return Activation<Silu>::apply(x); }

at::Tensor twice_differentiable_normalization(const at::Tensor& x, double eps, NormKind kind) {
  return Normalization::apply(x, eps, /*centred=*/kind == NormKind::layer);
}

at::Tensor twice_differentiable_softmax(const at::Tensor& scores, const at::Tensor& hidden) {
  return Softmax::apply(scores, hidden);
}

}  // namespace blockwise
