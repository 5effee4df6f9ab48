#include "core/models/fused_activations.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/error.hpp"
#include "core/base/tensor_bits.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr std::int64_t kGrain = 1 << 14;  // elements that are worth another thread

void require_first_derivative() {
  if (at::GradMode::is_enabled()) {
    throw InvariantError("a fused activation was differentiated twice");
  }
}

Curve curve_of(AutogradContext* context) {
  return static_cast<Curve>(context->saved_data["curve"].toInt());
}

// Calls run(T{}, begin, end) on ranges of the elements; nothing on the meta device.
template <typename Run>
void over_elements(const at::Tensor& x, const Run& run) {
  if (x.is_meta()) return;
  with_bits(x, [&](auto type) {
    at::parallel_for(0, x.numel(), kGrain, [&](auto begin, auto end) { run(type, begin, end); });
  });
}

class FusedActivation : public torch::autograd::Function<FusedActivation> {
 public:
  static Variable forward(AutogradContext* context, const Variable& input, Curve curve) {
    const auto x = input.contiguous();
    auto y = at::empty_like(x);
    over_elements(x, [&](auto type, auto begin, auto end) {
      using T = decltype(type);
      activate(curve, bits_of_tensor<T>(x) + begin, end - begin, bits_of_tensor<T>(y) + begin);
    });
    context->save_for_backward({x});
    context->saved_data["curve"] = static_cast<std::int64_t>(curve);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    require_first_derivative();
    const auto x = context->get_saved_variables()[0];
    const auto dy = outputs[0].contiguous();
    auto dx = at::empty_like(x);
    over_elements(x, [&, curve = curve_of(context)](auto type, auto begin, auto end) {
      using T = decltype(type);
      activation_slope(curve, bits_of_tensor<T>(x) + begin, bits_of_tensor<T>(dy) + begin,
                       end - begin, bits_of_tensor<T>(dx) + begin);
    });
    return {dx, {}};
  }
};

class FusedGate : public torch::autograd::Function<FusedGate> {
 public:
  static Variable forward(AutogradContext* context, const Variable& left, const Variable& right,
                          Curve curve) {
    const auto x = left.contiguous(), z = right.contiguous();
    auto y = at::empty_like(x);
    over_elements(x, [&](auto type, auto begin, auto end) {
      using T = decltype(type);
      gate(curve, bits_of_tensor<T>(x) + begin, bits_of_tensor<T>(z) + begin, end - begin,
           bits_of_tensor<T>(y) + begin);
    });
    context->save_for_backward({x, z});
    context->saved_data["curve"] = static_cast<std::int64_t>(curve);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &z = saved[1];
    const auto dy = outputs[0].contiguous();
    auto dx = at::empty_like(x), dz = at::empty_like(z);
    over_elements(x, [&, curve = curve_of(context)](auto type, auto begin, auto end) {
      using T = decltype(type);
      gate_slopes(curve,
                  GateSlopes<T>{bits_of_tensor<T>(x) + begin, bits_of_tensor<T>(z) + begin,
                                bits_of_tensor<T>(dy) + begin, bits_of_tensor<T>(dx) + begin,
                                bits_of_tensor<T>(dz) + begin},
                  end - begin);
    });
    return {dx, dz, {}};
  }
};

}  // namespace

at::Tensor fused_activation(Curve curve, const at::Tensor& x) {
  return FusedActivation::apply(x, curve);
}

at::Tensor fused_gate(Curve curve, const at::Tensor& x, const at::Tensor& z) {
  return FusedGate::apply(x, z, curve);
}

}  // namespace blockwise
