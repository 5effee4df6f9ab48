// Numbers in memory, float32 or the bits of bfloat16, as vectors of float32; for files that Highway
// compiles once per instruction set (hwy/foreach_target.h), each of which gets its own copy.
#include <cstdint>

#if defined(BLOCKWISE_CORE_KERNELS_FLOAT_VECTORS) == defined(HWY_TARGET_TOGGLE)
#ifdef BLOCKWISE_CORE_KERNELS_FLOAT_VECTORS
#undef BLOCKWISE_CORE_KERNELS_FLOAT_VECTORS
#else
#define BLOCKWISE_CORE_KERNELS_FLOAT_VECTORS
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
hn::Vec<D> load(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
void store(hn::Vec<D> x, D d, float* p) {
  hn::StoreU(x, d, p);
}
template <class D>
hn::Vec<D> load(D d, const std::uint16_t* p) {
  const hn::RebindToUnsigned<D> bits;
  const hn::Rebind<std::uint16_t, D> halves;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(halves, p))));
}
// To the nearest, ties to even; NaN stays NaN, as every NaN here has a high bit of its mantissa.
template <class D>
void store(hn::Vec<D> x, D d, std::uint16_t* p) {
  const hn::RebindToUnsigned<D> bits;
  const hn::RebindToSigned<D> whole;
  const hn::Rebind<std::uint16_t, D> halves;
  const auto b = hn::BitCast(bits, x);
  const auto odd = hn::And(hn::ShiftRight<16>(b), hn::Set(bits, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(b, hn::Add(odd, hn::Set(bits, 0x7FFF))));
  const auto kept =
      hn::IfThenElse(hn::MaskFromVec(hn::BitCast(bits, hn::VecFromMask(d, hn::IsNaN(x)))),
                     hn::Set(bits, 0x7FC0), rounded);
  hn::StoreU(hn::DemoteTo(halves, hn::BitCast(whole, kept)), halves, p);
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#endif
