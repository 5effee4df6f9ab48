#include "core/kernels/master_halves.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/master_halves.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "core/kernels/element_loop.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class U>
hn::Mask<U> is_special(U bits, hn::Vec<U> x) {
  const auto exponent = hn::Set(bits, 0x7F800000U);
  return hn::Eq(hn::And(x, exponent), exponent);
}

// As split_bf16() and not_finite_bf16(), in the lower halves.
template <class U>
hn::Vec<U> rounded(U bits, hn::Vec<U> x, hn::Mask<U> special) {
  const auto cut = hn::ShiftRight<16>(x);
  const auto up = hn::ShiftRight<16>(hn::Add(x, hn::Set(bits, 0x8000U)));
  const auto finite = hn::IfThenElse(is_special(bits, hn::ShiftLeft<16>(up)), cut, up);
  if (hn::AllFalse(bits, special)) return finite;
  const auto is_infinite = hn::Eq(hn::And(x, hn::Set(bits, 0x007FFFFFU)), hn::Zero(bits));
  const auto as_it_is = hn::Or(cut, hn::IfThenZeroElse(is_infinite, hn::Set(bits, 0x40U)));
  return hn::IfThenElse(special, as_it_is, finite);
}

// The residual in 16 bits, and the upper 8 of them rounded.
template <class S>
hn::Vec<S> kept(S whole, hn::Vec<S> rest, std::int16_t) {
  return hn::Min(rest, hn::Set(whole, 32767));
}
template <class S>
hn::Vec<S> kept(S whole, hn::Vec<S> rest, std::int8_t) {
  const auto upper = hn::ShiftRight<8>(hn::Add(rest, hn::Set(whole, 128)));
  return hn::Min(upper, hn::Set(whole, 127));
}

template <class S>
hn::Vec<S> whole_residual(hn::Vec<S> residual, std::int16_t) {
  return residual;
}
template <class S>
hn::Vec<S> whole_residual(hn::Vec<S> residual, std::int8_t) {
  return hn::ShiftLeft<8>(residual);
}

template <class Residual>
void split(const float* x, std::int64_t n, std::uint16_t* weight, Residual* residual) {
  over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    using D = decltype(d);
    const hn::RebindToUnsigned<D> bits;
    const hn::RebindToSigned<D> whole;
    const hn::Rebind<std::uint16_t, D> halves;
    const hn::Rebind<Residual, D> residuals;
    const auto b = hn::BitCast(bits, hn::LoadU(d, x + i));
    const auto special = is_special(bits, b);
    const auto w = rounded(bits, b, special);
    const auto rest = hn::IfThenZeroElse(special, hn::Sub(b, hn::ShiftLeft<16>(w)));
    hn::StoreU(hn::DemoteTo(halves, hn::BitCast(whole, w)), halves, weight + i);
    const auto narrow = kept(whole, hn::BitCast(whole, rest), Residual{});
    hn::StoreU(hn::DemoteTo(residuals, narrow), residuals, residual + i);
  });
}

template <class Residual>
void join(const std::uint16_t* weight, const Residual* residual, std::int64_t n, float* x) {
  over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    using D = decltype(d);
    const hn::RebindToUnsigned<D> bits;
    const hn::RebindToSigned<D> whole;
    const hn::Rebind<std::uint16_t, D> halves;
    const hn::Rebind<Residual, D> residuals;
    const auto w = hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(halves, weight + i)));
    const auto rest = hn::PromoteTo(whole, hn::LoadU(residuals, residual + i));
    const auto wide = whole_residual<hn::RebindToSigned<D>>(rest, Residual{});
    hn::StoreU(hn::BitCast(d, hn::Add(hn::BitCast(whole, w), wide)), d, x + i);
  });
}

void split_16(const float* x, std::int64_t n, std::uint16_t* weight, std::int16_t* residual) {
  split(x, n, weight, residual);
}
void split_8(const float* x, std::int64_t n, std::uint16_t* weight, std::int8_t* residual) {
  split(x, n, weight, residual);
}
void join_16(const std::uint16_t* weight, const std::int16_t* residual, std::int64_t n, float* x) {
  join(weight, residual, n, x);
}
void join_8(const std::uint16_t* weight, const std::int8_t* residual, std::int64_t n, float* x) {
  join(weight, residual, n, x);
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise {

HWY_EXPORT(split_16);
HWY_EXPORT(split_8);
HWY_EXPORT(join_16);
HWY_EXPORT(join_8);

void join_halves(const std::uint16_t* weight, const std::int16_t* residual, std::int64_t n,
                 float* x) {
  HWY_DYNAMIC_DISPATCH(join_16)(weight, residual, n, x);
}
void join_halves(const std::uint16_t* weight, const std::int8_t* residual, std::int64_t n,
                 float* x) {
  HWY_DYNAMIC_DISPATCH(join_8)(weight, residual, n, x);
}
void split_halves(const float* x, std::int64_t n, std::uint16_t* weight, std::int16_t* residual) {
  HWY_DYNAMIC_DISPATCH(split_16)(x, n, weight, residual);
}
void split_halves(const float* x, std::int64_t n, std::uint16_t* weight, std::int8_t* residual) {
  HWY_DYNAMIC_DISPATCH(split_8)(x, n, weight, residual);
}

}  // namespace blockwise
#endif
