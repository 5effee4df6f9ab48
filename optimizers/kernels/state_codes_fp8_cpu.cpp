// float8_e4m3fn with a scale per block.
#include "core/base/float_bits.hpp"
#include "optimizers/kernels/block_loops.hpp"
#include "optimizers/kernels/state_codes.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/state_codes_fp8_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "optimizers/kernels/code_vectors.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

// to_fp8() of a vector, in the lowest bytes; also of what rounds to kLargestFp8 from above.
HWY_INLINE hn::Vec<hn::RebindToSigned<Floats>> fp8_of(FloatVector x) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const auto bits = hn::BitCast(di, x);
  const auto sign = hn::And(hn::ShiftRight<24>(bits), hn::Set(di, 0x80));
  const auto size = hn::And(bits, hn::Set(di, 0x7FFFFFFF));
  const auto length = hn::BitCast(d, size);
  // Beside 2^14 the steps of float32 are 2^-9.
  const auto step = hn::Set(d, 0x1p14F);
  const auto of_small = hn::Sub(hn::BitCast(di, hn::Add(length, step)), hn::BitCast(di, step));
  const auto is_odd = hn::And(hn::ShiftRight<20>(size), hn::Set(di, 1));
  const auto rounded_up = hn::Add(hn::Add(size, hn::Set(di, 0x7FFFF)), is_odd);
  const auto of_large = hn::Sub(hn::ShiftRight<20>(rounded_up), hn::Set(di, 120 << 3));
  const auto is_small = hn::RebindMask(di, hn::Lt(length, hn::Set(d, 0x1p-6F)));
  return hn::Or(sign, hn::IfThenElse(is_small, of_small, of_large));
}

// The codes of 64 values; `least` is that of a value above 0.
HWY_INLINE void encode_fp8_64(const Scaling& scaled, int least, const float* x,
                              std::uint8_t* codes) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  for (std::int64_t i = 0; i < kStep; i += float_lanes()) {
    const auto v = hn::LoadU(d, x + i);
    const auto code = fp8_of(hn::Mul(scaled(d, v), hn::Set(d, kLargestFp8)));
    const auto is_positive = hn::RebindMask(di, hn::Gt(v, hn::Zero(d)));
    store_bytes(hn::IfThenElse(is_positive, hn::Max(code, hn::Set(di, least)), code), codes + i);
  }
}

void EncodeFp8(const float* x, const BlockedRun& run, int least, const Codes& stored) {
  over_blocks(run, [&](auto number, auto begin, auto count) HWY_ATTR {
    const float most = largest(x + begin, count);
    stored.scales[number] = most / kLargestFp8;
    const Scaling scaled(most);
    encode_steps<1>(x + begin, count, stored.codes + begin,
                    [&](std::int64_t, const float* from, std::uint8_t* to)
                        HWY_ATTR { encode_fp8_64(scaled, least, from, to); });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(EncodeFp8);

std::uint8_t to_fp8(float x) {
  const auto sign = static_cast<std::uint8_t>((bits_of(x) >> 24) & 0x80U);
  const float size = std::abs(x);
  // Below 2^-6 steps of 2^-9, which are the bits themselves.
  if (size < 0x1p-6F) return sign | static_cast<std::uint8_t>(std::nearbyint(size * 0x1p9F));
  // Half of the last kept bit, and a little less where that bit is even.
  const auto bits = bits_of(size);
  const auto rounded_up = bits + 0x7FFFFU + ((bits >> 20) & 1U);
  // The exponent's bias is 7, not 127.
  return sign | static_cast<std::uint8_t>((rounded_up >> 20) - (120U << 3));
}

float from_fp8(std::uint8_t bits) {
  const std::uint32_t size = bits & 0x7FU;
  const float value =
      size < 8 ? static_cast<float>(size) * 0x1p-9F : float_of((size + (120U << 3)) << 20);
  return (bits & 0x80U) != 0 ? -value : value;
}

void encode_fp8(const float* x, std::int64_t n, std::int64_t block, CodeTable::Zero zero,
                const Codes& stored) {
  const int least = zero == CodeTable::Zero::for_zero_only ? 1 : 0;
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeFp8)
    (x + begin, {count, block}, least, {stored.codes + begin, stored.scales + begin / block});
  });
}

void decode_fp8(const Codes& stored, std::int64_t n, std::int64_t block, float* x) {
  static const NumberTable values(from_fp8);
  decode_8bit(values, stored, n, block, x);
}

}  // namespace blockwise::kernels
#endif
