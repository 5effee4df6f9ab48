// bf16 by stochastic rounding.
#include "core/base/float_bits.hpp"
#include "optimizers/kernels/block_loops.hpp"
#include "optimizers/kernels/state_codes.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/state_codes_bf16_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "optimizers/kernels/code_vectors.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

constexpr std::int64_t kPerNumber = 4;  // 16 bits of 64 each

// mix64() of a vector.
template <class D>
HWY_INLINE hn::Vec<D> mixed(D d, hn::Vec<D> x) {
  x = hn::Add(x, hn::Set(d, 0x9e3779b97f4a7c15ULL));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<30>(x)), hn::Set(d, 0xbf58476d1ce4e5b9ULL));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<27>(x)), hn::Set(d, 0x94d049bb133111ebULL));
  return hn::Xor(x, hn::ShiftRight<31>(x));
}

// Random bits of the values from number `first` on, a multiple of four.
HWY_INLINE void random_64(std::uint64_t seed, std::int64_t first, std::uint64_t* random) {
  const hn::CappedTag<std::uint64_t, 8> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kStep / kPerNumber; i += lanes) {
    const auto number = hn::Iota(d, static_cast<std::uint64_t>(first / kPerNumber + i));
    hn::StoreU(mixed(d, hn::Xor(hn::Set(d, seed), mixed(d, number))), d, random + i);
  }
}

// random_bf16() of a vector.
template <class D>
HWY_INLINE hn::Vec<D> rounded(D d, hn::Vec<D> bits, hn::Vec<D> random) {
  const auto infinity = hn::Set(d, 0x7F800000U);
  const auto size = hn::And(bits, hn::Set(d, 0x7FFFFFFFU));
  const auto of_nan = hn::Or(bits, hn::Set(d, 0x00400000U));
  const auto not_finite = hn::IfThenElse(hn::Eq(size, infinity), bits, of_nan);
  const auto is_finite = hn::Gt(infinity, size);
  return hn::ShiftRight<16>(hn::IfThenElse(is_finite, hn::Add(bits, random), not_finite));
}

void EncodeBf16(const float* x, std::int64_t n, std::uint64_t seed, std::int64_t first,
                std::uint16_t* bits) {
  const hn::RebindToUnsigned<Floats> d;
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<std::uint16_t, Floats> words;
  encode_steps<1>(x, n, bits,
                  [&](std::int64_t step, const float* from, std::uint16_t* to) HWY_ATTR {
                    HWY_ALIGN std::uint64_t random[kStep / kPerNumber];
                    random_64(seed, first + step, random);
                    const auto* random_words = reinterpret_cast<const std::uint16_t*>(random);
                    for (std::int64_t i = 0; i < kStep; i += float_lanes()) {
                      const auto value = hn::BitCast(d, hn::LoadU(Floats(), from + i));
                      const auto added = hn::PromoteTo(d, hn::LoadU(words, random_words + i));
                      const auto upper = hn::BitCast(di, rounded(d, value, added));
                      hn::StoreU(hn::DemoteTo(words, upper), words, to + i);
                    }
                  });
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(EncodeBf16);

void encode_bf16(const float* x, std::int64_t n, std::uint64_t seed, std::uint16_t* bits) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeBf16)(x + begin, count, seed, begin, bits + begin);
  });
}

void decode_bf16(const std::uint16_t* bits, std::int64_t n, float* x) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    for (auto i = begin; i < begin + count; ++i) x[i] = from_bf16(bits[i]);
  });
}

}  // namespace blockwise::kernels
#endif
