#include "core/kernels/cross_entropy_rows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/cross_entropy_rows.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "core/kernels/element_loop.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t kFold = 1024;  // classes whose sum stays in float32

// NaN where either is: a comparison alone would lose it.
template <class D>
hn::Vec<D> larger(D, hn::Vec<D> x, hn::Vec<D> most) {
  return hn::IfThenElse(hn::Or(hn::Gt(x, most), hn::IsNaN(x)), x, most);
}

template <class T>
float largest(const T* z, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto most = hn::Set(d, -std::numeric_limits<float>::infinity());
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) most = larger(d, load(d, z + i), most);
  const bool is_number = hn::AllFalse(d, hn::IsNaN(most));
  const hn::CappedTag<float, 1> one;
  auto last = hn::Set(one, is_number ? hn::GetLane(hn::MaxOfLanes(d, most))
                                     : std::numeric_limits<float>::quiet_NaN());
  for (; i < n; ++i) last = larger(one, load(one, z + i), last);
  return hn::GetLane(last);
}

// sum exp(z - most)
template <class T>
double exponential_sum(const T* z, std::int64_t n, float most) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto term = [&](auto tag, std::int64_t i) HWY_ATTR {
    return hn::Exp(tag, hn::Sub(load(tag, z + i), hn::Set(tag, most)));
  };
  double total = 0.0;
  std::int64_t i = 0;
  while (i + lanes <= n) {
    const auto end = std::min(n, i + kFold);
    auto sum = hn::Zero(d);
    for (; i + lanes <= end; i += lanes) sum = hn::Add(sum, term(d, i));
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
  for (; i < n; ++i) total += static_cast<double>(hn::GetLane(term(one, i)));
  return total;
}

template <class T>
void fill(T* slope, std::int64_t n, float value) {
  over(n, [&](auto d, std::int64_t i) HWY_ATTR { store(hn::Set(d, value), d, slope + i); });
}

template <class T>
void set_one(T* slope, float value) {
  const hn::CappedTag<float, 1> one;
  store(hn::Set(one, value), one, slope);
}

template <class T>
double row(const T* z, std::int64_t n, std::int64_t target, float weight, T* slope) {
  if (target < 0) {
    if (slope != nullptr) fill(slope, n, 0.0F);
    return 0.0;
  }
  const float most = largest(z, n);
  if (!std::isfinite(most)) {
    if (slope != nullptr) fill(slope, n, std::numeric_limits<float>::quiet_NaN());
    return std::numeric_limits<double>::quiet_NaN();
  }
  const hn::CappedTag<float, 1> one;
  const double above = static_cast<double>(hn::GetLane(load(one, z + target))) - double(most);
  const double log_sum = std::log(exponential_sum(z, n, most));
  if (slope == nullptr) return log_sum - above;
  const auto shift = static_cast<float>(log_sum);
  over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto x = hn::Sub(hn::Sub(load(d, z + i), hn::Set(d, most)), hn::Set(d, shift));
    store(hn::Mul(hn::Exp(d, x), hn::Set(d, weight)), d, slope + i);
  });
  set_one(slope + target, static_cast<float>(std::expm1(above - log_sum) * double(weight)));
  return log_sum - above;
}

double row_f32(const float* z, std::int64_t n, std::int64_t target, float weight, float* slope) {
  return row(z, n, target, weight, slope);
}
double row_bf16(const std::uint16_t* z, std::int64_t n, std::int64_t target, float weight,
                std::uint16_t* slope) {
  return row(z, n, target, weight, slope);
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise {

HWY_EXPORT(row_f32);
HWY_EXPORT(row_bf16);

double cross_entropy_row(const float* z, std::int64_t classes, std::int64_t target, float weight,
                         float* slope) {
  return HWY_DYNAMIC_DISPATCH(row_f32)(z, classes, target, weight, slope);
}

double cross_entropy_row(const std::uint16_t* z, std::int64_t classes, std::int64_t target,
                         float weight, std::uint16_t* slope) {
  return HWY_DYNAMIC_DISPATCH(row_bf16)(z, classes, target, weight, slope);
}

}  // namespace blockwise
#endif
