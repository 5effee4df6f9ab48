#include "core/kernels/activations.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/activations.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "core/kernels/element_loop.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

struct Silu {
  template <class D>
  hn::Vec<D> inner(D, hn::Vec<D> x) const {
    return x;
  }
  template <class D>
  hn::Vec<D> inner_slope(D d, hn::Vec<D>) const {
    return hn::Set(d, 1.0F);
  }
};

struct GeluTanh {
  static constexpr float kTwice = 1.5957691216F;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.044715F;
  template <class D>
  hn::Vec<D> inner(D d, hn::Vec<D> x) const {
    const auto bend = hn::MulAdd(hn::Mul(x, x), hn::Set(d, kTwice * kCubic), hn::Set(d, kTwice));
    return hn::Mul(x, bend);
  }
  template <class D>
  hn::Vec<D> inner_slope(D d, hn::Vec<D> x) const {
    return hn::MulAdd(hn::Mul(x, x), hn::Set(d, 3.0F * kTwice * kCubic), hn::Set(d, kTwice));
  }
};

// hn::Exp is right up to where float32 ends, and makes a number of a NaN; x itself, which the
// logistic multiplies, makes it one again.
template <class D>
hn::Vec<D> logistic(D d, hn::Vec<D> u) {
  const auto one = hn::Set(d, 1.0F);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(u), hn::Set(d, 88.0F)))));
}

template <class C, class D>
hn::Vec<D> slope(const C& curve, D d, hn::Vec<D> x, hn::Vec<D> s) {
  const auto rest = hn::Mul(hn::Mul(x, s), hn::Sub(hn::Set(d, 1.0F), s));
  return hn::MulAdd(rest, curve.inner_slope(d, x), s);
}

template <class Run>
void with_curve(Curve curve, const Run& run) {
  curve == Curve::silu ? run(Silu{}) : run(GeluTanh{});
}

template <class T>
void values(Curve name, const T* x, const T* z, std::int64_t n, T* y) {
  with_curve(name, [&](auto curve) HWY_ATTR {
    over(n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto v = load(d, x + i);
      const auto f = hn::Mul(v, logistic(d, curve.inner(d, v)));
      store(z == nullptr ? f : hn::Mul(f, load(d, z + i)), d, y + i);
    });
  });
}

template <class T>
void slopes(Curve name, const T* x, const T* dy, std::int64_t n, T* dx) {
  with_curve(name, [&](auto curve) HWY_ATTR {
    over(n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto v = load(d, x + i);
      const auto s = logistic(d, curve.inner(d, v));
      store(hn::Mul(slope(curve, d, v, s), load(d, dy + i)), d, dx + i);
    });
  });
}

template <class T>
void both_slopes(Curve name, const GateSlopes<T>& a, std::int64_t n) {
  with_curve(name, [&](auto curve) HWY_ATTR {
    over(n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto v = load(d, a.x + i), dy = load(d, a.dy + i), z = load(d, a.z + i);
      const auto s = logistic(d, curve.inner(d, v));
      store(hn::Mul(hn::Mul(slope(curve, d, v, s), z), dy), d, a.dx + i);
      store(hn::Mul(hn::Mul(v, s), dy), d, a.dz + i);
    });
  });
}

void values_f32(Curve c, const float* x, const float* z, std::int64_t n, float* y) {
  values(c, x, z, n, y);
}
void values_bf16(Curve c, const std::uint16_t* x, const std::uint16_t* z, std::int64_t n,
                 std::uint16_t* y) {
  values(c, x, z, n, y);
}
void slopes_f32(Curve c, const float* x, const float* dy, std::int64_t n, float* dx) {
  slopes(c, x, dy, n, dx);
}
void slopes_bf16(Curve c, const std::uint16_t* x, const std::uint16_t* dy, std::int64_t n,
                 std::uint16_t* dx) {
  slopes(c, x, dy, n, dx);
}
void both_slopes_f32(Curve c, const GateSlopes<float>& arrays, std::int64_t n) {
  both_slopes(c, arrays, n);
}
void both_slopes_bf16(Curve c, const GateSlopes<std::uint16_t>& arrays, std::int64_t n) {
  both_slopes(c, arrays, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise {

HWY_EXPORT(values_f32);
HWY_EXPORT(values_bf16);
HWY_EXPORT(slopes_f32);
HWY_EXPORT(slopes_bf16);
HWY_EXPORT(both_slopes_f32);
HWY_EXPORT(both_slopes_bf16);

void activate(Curve curve, const float* x, std::int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(values_f32)(curve, x, nullptr, n, y);
}
void activate(Curve curve, const std::uint16_t* x, std::int64_t n, std::uint16_t* y) {
  HWY_DYNAMIC_DISPATCH(values_bf16)(curve, x, nullptr, n, y);
}
void activation_slope(Curve curve, const float* x, const float* dy, std::int64_t n, float* dx) {
  HWY_DYNAMIC_DISPATCH(slopes_f32)(curve, x, dy, n, dx);
}
void activation_slope(Curve curve, const std::uint16_t* x, const std::uint16_t* dy, std::int64_t n,
                      std::uint16_t* dx) {
  HWY_DYNAMIC_DISPATCH(slopes_bf16)(curve, x, dy, n, dx);
}
void gate(Curve curve, const float* x, const float* z, std::int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(values_f32)(curve, x, z, n, y);
}
void gate(Curve curve, const std::uint16_t* x, const std::uint16_t* z, std::int64_t n,
          std::uint16_t* y) {
  HWY_DYNAMIC_DISPATCH(values_bf16)(curve, x, z, n, y);
}
void gate_slopes(Curve curve, const GateSlopes<float>& arrays, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(both_slopes_f32)(curve, arrays, n);
}
void gate_slopes(Curve curve, const GateSlopes<std::uint16_t>& arrays, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(both_slopes_bf16)(curve, arrays, n);
}

}  // namespace blockwise
#endif
