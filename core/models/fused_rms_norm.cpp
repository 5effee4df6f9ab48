#include "core/models/fused_rms_norm.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/error.hpp"
#include "core/base/tensor_bits.hpp"
#include "core/kernels/rms_norm_rows.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr std::int64_t kRanges = 64;

// Calls run(T{}, range, begin, end) on as many rows each of [0, rows); nothing on the meta device.
template <typename Run>
void over_ranges(const at::Tensor& x, const Run& run) {
  if (x.is_meta() || x.numel() == 0) return;
  const auto rows = x.numel() / x.size(-1), each = (rows + kRanges - 1) / kRanges;
  with_bits(x, [&](auto type) {
    const auto grain = 1 + (1 << 14) / (each * x.size(-1));
    at::parallel_for(0, kRanges, grain, [&](auto first, auto last) {
      for (auto i = first; i < last; ++i) {
        run(type, i, std::min(rows, i * each), std::min(rows, (i + 1) * each));
      }
    });
  });
}

class FusedRmsNorm : public torch::autograd::Function<FusedRmsNorm> {
 public:
  static Variable forward(AutogradContext* context, const Variable& input, const Variable& weight,
                          double eps) {
    const auto x = input.contiguous();
    const auto gain = weight.to(at::kFloat).contiguous();
    const auto width = x.size(-1);
    auto y = at::empty_like(x);
    const auto scales = at::empty(x.sizes().slice(0, std::size_t(x.dim() - 1)), gain.options());
    over_ranges(x, [&](auto type, auto, auto begin, auto end) {
      using T = decltype(type);
      rms_norm_rows(RmsNormRows<T>{
          bits_of_tensor<T>(x) + begin * width, gain.const_data_ptr<float>(),
          bits_of_tensor<T>(y) + begin * width, scales.mutable_data_ptr<float>() + begin,
          end - begin, width, static_cast<float>(eps)});
    });
    context->save_for_backward({x, gain, scales});
    context->saved_data["gain"] = weight.scalar_type();
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError("the fused RMSNorm was differentiated twice");
    }
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &gain = saved[1], &scales = saved[2];
    const auto dy = outputs[0].contiguous();
    const auto width = x.size(-1);
    auto dx = at::empty_like(x);
    const auto partial = at::zeros({kRanges, width}, gain.options());
    over_ranges(x, [&](auto type, auto range, auto begin, auto end) {
      using T = decltype(type);
      rms_norm_slopes(RmsNormSlopes<T>{
          bits_of_tensor<T>(x) + begin * width, gain.const_data_ptr<float>(),
          scales.const_data_ptr<float>() + begin, bits_of_tensor<T>(dy) + begin * width,
          bits_of_tensor<T>(dx) + begin * width, partial.mutable_data_ptr<float>() + range * width,
          end - begin, width});
    });
    return {dx, partial.sum(0).to(context->saved_data["gain"].toScalarType()), {}};
  }
};

}  // namespace

at::Tensor fused_rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps) {
  return FusedRmsNorm::apply(x, gain, eps);
}

}  // namespace blockwise
