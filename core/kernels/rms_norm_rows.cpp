#include "core/kernels/rms_norm_rows.hpp"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/rms_norm_rows.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "core/kernels/element_loop.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The sum of term(d, i) over [0, n).
template <class Term>
float sum_over(std::int64_t n, const Term& term) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) sum = hn::Add(sum, term(d, i));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) total += hn::GetLane(term(one, i));
  return total;
}

template <class T>
void forward(const RmsNormRows<T>& r) {
  for (std::int64_t row = 0; row < r.rows; ++row) {
    const T* x = r.x + row * r.width;
    T* y = r.y + row * r.width;
    const float squares = sum_over(r.width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto v = load(d, x + i);
      return hn::Mul(v, v);
    });
    const float scale = 1.0F / std::sqrt(squares / static_cast<float>(r.width) + r.eps);
    r.scales[row] = scale;
    over(r.width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto v = hn::Mul(load(d, x + i), hn::Set(d, scale));
      store(hn::Mul(v, load(d, r.gain + i)), d, y + i);
    });
  }
}

template <class T>
void back(const RmsNormSlopes<T>& r) {
  for (std::int64_t row = 0; row < r.rows; ++row) {
    const T* x = r.x + row * r.width;
    const T* dy = r.dy + row * r.width;
    T* dx = r.dx + row * r.width;
    const float along = sum_over(r.width, [&](auto d, std::int64_t i) HWY_ATTR {
      return hn::Mul(hn::Mul(load(d, dy + i), load(d, r.gain + i)), load(d, x + i));
    });
    const float s = r.scales[row];
    const float pull = along / static_cast<float>(r.width) * s * s * s;
    over(r.width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto v = load(d, x + i), slope = load(d, dy + i);
      const auto scaled = hn::Mul(slope, hn::Set(d, s));
      float* gain_slope = r.gain_slope + i;
      store(hn::MulAdd(scaled, v, load(d, gain_slope)), d, gain_slope);
      store(hn::NegMulAdd(v, hn::Set(d, pull), hn::Mul(scaled, load(d, r.gain + i))), d, dx + i);
    });
  }
}

void forward_f32(const RmsNormRows<float>& rows) { forward(rows); }
void forward_bf16(const RmsNormRows<std::uint16_t>& rows) { forward(rows); }
void back_f32(const RmsNormSlopes<float>& rows) { back(rows); }
void back_bf16(const RmsNormSlopes<std::uint16_t>& rows) { back(rows); }

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(back_f32);
HWY_EXPORT(back_bf16);

void rms_norm_rows(const RmsNormRows<float>& rows) { HWY_DYNAMIC_DISPATCH(forward_f32)(rows); }
void rms_norm_rows(const RmsNormRows<std::uint16_t>& rows) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(rows);
}
void rms_norm_slopes(const RmsNormSlopes<float>& rows) { HWY_DYNAMIC_DISPATCH(back_f32)(rows); }
void rms_norm_slopes(const RmsNormSlopes<std::uint16_t>& rows) {
  HWY_DYNAMIC_DISPATCH(back_bf16)(rows);
}

}  // namespace blockwise
#endif
