// float32 and bfloat16 rows as float32 vectors; included once per instruction set.
#if defined(BLOCKWISE_WIDENED_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef BLOCKWISE_WIDENED_INL
#undef BLOCKWISE_WIDENED_INL
#else
#define BLOCKWISE_WIDENED_INL
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

template <class D>
hwy::HWY_NAMESPACE::Vec<D> load(D d, const float* p) {
  return hwy::HWY_NAMESPACE::LoadU(d, p);
}

template <class D>
void store(hwy::HWY_NAMESPACE::Vec<D> x, D d, float* p) {
  hwy::HWY_NAMESPACE::StoreU(x, d, p);
}

template <class D>
hwy::HWY_NAMESPACE::Vec<D> load(D d, const std::uint16_t* p) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> bits;
  const hn::Rebind<std::uint16_t, D> halves;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(halves, p))));
}

// To the nearest, ties to even; a NaN stays one.
template <class D>
void store(hwy::HWY_NAMESPACE::Vec<D> x, D d, std::uint16_t* p) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> bits;
  const hn::RebindToSigned<D> whole;
  const hn::Rebind<std::uint16_t, D> halves;
  const auto b = hn::BitCast(bits, x);
  const auto odd = hn::And(hn::ShiftRight<16>(b), hn::Set(bits, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(b, hn::Add(odd, hn::Set(bits, 0x7FFF))));
  const auto nan = hn::MaskFromVec(hn::BitCast(bits, hn::VecFromMask(d, hn::IsNaN(x))));
  const auto kept = hn::IfThenElse(nan, hn::Set(bits, 0x7FC0), rounded);
  hn::StoreU(hn::DemoteTo(halves, hn::BitCast(whole, kept)), halves, p);
}

// Calls body(d, i) over [0, n) with full vectors, and over what is left with ever shorter ones.
template <class Body>
void over(std::int64_t n, const Body& body) {
  namespace hn = hwy::HWY_NAMESPACE;
  std::int64_t i = 0;
  const auto with = [&](auto d) HWY_ATTR {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    for (; i + lanes <= n; i += lanes) body(d, i);
  };
  with(hn::ScalableTag<float>());
  with(hn::CappedTag<float, 8>());
  with(hn::CappedTag<float, 4>());
  with(hn::CappedTag<float, 1>());
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#endif
