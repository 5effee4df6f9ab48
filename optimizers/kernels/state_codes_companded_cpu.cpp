// Codes behind a curve, with a scale in bf16 per 32 values.
#define HWY_WANT_AVX3_DL 1  // has permutations of bytes; Highway before 1.0.7 leaves it out

#include "core/base/float_bits.hpp"
#include "optimizers/kernels/block_loops.hpp"
#include "optimizers/kernels/state_codes.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/state_codes_companded_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "optimizers/kernels/code_lookups.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

// The largest finite one at most.
HWY_INLINE std::uint16_t bf16_above(float x) {
  return static_cast<std::uint16_t>(std::min((bits_of(x) + 0xFFFFU) >> 16, 0x7F7FU));
}

// round(254 y / (1 + |y|)), y = x / s; 0 where that is not a number.
struct Softsign {
  static float scale_of(float most) { return most; }

  template <class D>
  HWY_INLINE static hn::Vec<hn::RebindToSigned<D>> code(D d, const Scaling& scaled, hn::Vec<D> x) {
    const auto y = scaled(d, x);
    const auto above = hn::Mul(hn::Set(d, 254.0F), y);
    const auto z = hn::Div(above, hn::Add(hn::Set(d, 1.0F), hn::Abs(y)));
    return hn::NearestInt(hn::IfThenElseZero(hn::Eq(z, z), z));
  }
};

// round(255 sqrt(x) / s), at least 1 for x > 0.
struct Root {
  static float scale_of(float most) { return std::sqrt(most); }

  template <class D>
  HWY_INLINE static hn::Vec<hn::RebindToSigned<D>> code(D d, const Scaling& scaled, hn::Vec<D> x) {
    const hn::RebindToSigned<D> di;
    const auto root = scaled(d, hn::Sqrt(x));
    const auto code = hn::NearestInt(hn::Mul(hn::Set(d, 255.0F), root));
    const auto infinity = hn::Inf(d);
    const auto is_coded = hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, infinity));
    return hn::IfThenElseZero(hn::RebindMask(di, is_coded), hn::Max(code, hn::Set(di, 1)));
  }
};

template <class Curve, class Code>
HWY_INLINE void encode_blocks(const float* x, std::int64_t n, Code* codes, std::uint16_t* scales) {
  const Floats d;
  over_blocks({n, kCompandedBlock}, [&](auto number, auto begin, auto count) HWY_ATTR {
    scales[number] = bf16_above(Curve::scale_of(largest(x + begin, count)));
    const Scaling scaled(from_bf16(scales[number]));
    encode_steps<1, kCompandedBlock>(
        x + begin, count, codes + begin, [&](std::int64_t, const float* from, Code* to) HWY_ATTR {
          for (std::int64_t i = 0; i < kCompandedBlock; i += float_lanes()) {
            const auto code = Curve::code(d, scaled, hn::LoadU(d, from + i));
            store_bytes(code, to + i);
          }
        });
  });
}

// Values of the table times their block's scale, and what `finish` makes of that.
template <class Finish>
HWY_INLINE void decode_blocks(const NumberTable& values, const CompandedCodes& stored,
                              std::int64_t n, float* x, const Finish& finish) {
  const Floats d;
  const auto last = (n - 1) / kCompandedBlock;
  decode_steps<1>(stored.codes, n, x,
                  [&](std::int64_t step, const std::uint8_t* from, float* to) HWY_ATTR {
                    values_of_64(values, from, [&](std::int64_t i, auto value) HWY_ATTR {
                      const auto number = std::min((step + i) / kCompandedBlock, last);
                      const auto scale = hn::Set(d, from_bf16(stored.scales[number]));
                      hn::StoreU(finish(hn::Mul(value, scale)), d, to + i);
                    });
                  });
}

void EncodeSoftsign(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales) {
  encode_blocks<Softsign>(x, n, codes, scales);
}

void EncodeRoot(const float* x, std::int64_t n, std::uint8_t* codes, std::uint16_t* scales) {
  encode_blocks<Root>(x, n, codes, scales);
}

void DecodeSoftsign(const NumberTable& values, const CompandedCodes& stored, std::int64_t n,
                    float* x) {
  decode_blocks(values, stored, n, x, [](auto value) HWY_ATTR { return value; });
}

void DecodeRoot(const NumberTable& values, const CompandedCodes& stored, std::int64_t n, float* x) {
  decode_blocks(values, stored, n, x, [](auto root) HWY_ATTR { return hn::Mul(root, root); });
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(EncodeSoftsign);
HWY_EXPORT(EncodeRoot);
HWY_EXPORT(DecodeSoftsign);
HWY_EXPORT(DecodeRoot);

float softsign_value(std::uint8_t code) {
  const float z = static_cast<float>(static_cast<std::int8_t>(code)) / 127.0F;
  return z / (2.0F - std::abs(z));
}

float root_value(std::uint8_t code) { return static_cast<float>(code) / 255.0F; }

void encode_softsign(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeSoftsign)
    (x + begin, count, codes + begin, scales + begin / kCompandedBlock);
  });
}

void encode_root(const float* x, std::int64_t n, std::uint8_t* codes, std::uint16_t* scales) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeRoot)
    (x + begin, count, codes + begin, scales + begin / kCompandedBlock);
  });
}

void decode_softsign(const std::int8_t* codes, const std::uint16_t* scales, std::int64_t n,
                     float* x) {
  static const NumberTable values(softsign_value);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(codes);
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    const CompandedCodes stored{bytes + begin, scales + begin / kCompandedBlock};
    HWY_DYNAMIC_DISPATCH(DecodeSoftsign)(values, stored, count, x + begin);
  });
}

void decode_root(const std::uint8_t* codes, const std::uint16_t* scales, std::int64_t n, float* x) {
  static const NumberTable values(root_value);
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    const CompandedCodes stored{codes + begin, scales + begin / kCompandedBlock};
    HWY_DYNAMIC_DISPATCH(DecodeRoot)(values, stored, count, x + begin);
  });
}

}  // namespace blockwise::kernels
#endif
