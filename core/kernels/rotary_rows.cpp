#include "core/kernels/rotary_rows.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/rotary_rows.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "core/kernels/element_loop.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
void forward(const RotaryRows<T>& r) {
  for (std::int64_t row = 0; row < r.rows; ++row) {
    const T* x = r.x + row * r.x_step;
    T* y = r.y + row * r.y_step;
    const float* c = r.cosines + row * 2 * r.half;
    const float* s = r.sines + row * 2 * r.half;
    over(r.half, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto j = i + r.half;
      const auto a = load(d, x + i), b = load(d, x + j);
      store(hn::NegMulAdd(b, load(d, s + i), hn::Mul(a, load(d, c + i))), d, y + i);
      store(hn::MulAdd(a, load(d, s + j), hn::Mul(b, load(d, c + j))), d, y + j);
    });
  }
}

void forward_f32(const RotaryRows<float>& rows) { forward(rows); }
void forward_bf16(const RotaryRows<std::uint16_t>& rows) { forward(rows); }

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);

void rotate_rows(const RotaryRows<float>& rows) { HWY_DYNAMIC_DISPATCH(forward_f32)(rows); }
void rotate_rows(const RotaryRows<std::uint16_t>& rows) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(rows);
}

}  // namespace blockwise
#endif
