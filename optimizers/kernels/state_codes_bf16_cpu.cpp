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

#if HWY_TARGET == HWY_SCALAR

HWY_INLINE void round_64(const float* x, const std::uint16_t* random, std::uint16_t* bits) {
  for (std::int64_t i = 0; i < kStep; ++i) bits[i] = random_bf16(x[i], random[i]);
}

#else

using Words = hn::Repartition<std::uint16_t, Floats>;

// not_finite_bf16() of a vector's halves.
HWY_INLINE hn::Vec<Words> not_finite(hn::Vec<Words> upper, hn::Vec<Words> lower) {
  const Words d;
  const auto mantissa = hn::Or(hn::And(upper, hn::Set(d, 0x7F)), lower);
  const auto is_infinite = hn::Eq(mantissa, hn::Zero(d));
  return hn::Or(upper, hn::IfThenZeroElse(is_infinite, hn::Set(d, 0x40)));
}

// random_bf16() of 64 values: the upper halves, and one more where the lower ones overflow.
HWY_INLINE void round_64(const float* x, const std::uint16_t* random, std::uint16_t* bits) {
  const Floats floats;
  const Words d;
  const auto exponent = hn::Set(d, 0x7F80);
  for (std::int64_t i = 0; i < kStep; i += 2 * float_lanes()) {
    const auto first = hn::BitCast(d, hn::LoadU(floats, x + i));
    const auto second = hn::BitCast(d, hn::LoadU(floats, x + i + float_lanes()));
    const auto upper = hn::ConcatOdd(d, second, first), lower = hn::ConcatEven(d, second, first);
    const auto has_carry = hn::Lt(hn::Add(lower, hn::LoadU(d, random + i)), lower);
    auto rounded = hn::Sub(upper, hn::VecFromMask(d, has_carry));
    const auto is_special = hn::Eq(hn::And(upper, exponent), exponent);
    if (!hn::AllFalse(d, is_special)) {
      rounded = hn::IfThenElse(is_special, not_finite(upper, lower), rounded);
    }
    hn::StoreU(rounded, d, bits + i);
  }
}

#endif

void EncodeBf16(const float* x, std::int64_t n, std::uint64_t seed, std::int64_t first,
                std::uint16_t* bits) {
  encode_steps<1>(x, n, bits,
                  [&](std::int64_t step, const float* from, std::uint16_t* to) HWY_ATTR {
                    HWY_ALIGN std::uint64_t random[kStep / kPerNumber];
                    random_64(seed, first + step, random);
                    round_64(from, reinterpret_cast<const std::uint16_t*>(random), to);
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
