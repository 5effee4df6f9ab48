// What the vector loops of state codes share, once per instruction set: include it behind
// hwy/highway.h. Loops go in steps of 64 values; what is behind the last whole step is done in a
// copy with zeros behind it, so that all values are rounded by the same instructions.
#if defined(BLOCKWISE_CODE_VECTORS) == defined(HWY_TARGET_TOGGLE)
#ifdef BLOCKWISE_CODE_VECTORS
#undef BLOCKWISE_CODE_VECTORS
#else
#define BLOCKWISE_CODE_VECTORS
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "optimizers/kernels/block_loops.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t kStep = 64;
using Floats = hn::CappedTag<float, 16>;  // kStep is a multiple of its lanes
using FloatVector = hn::Vec<Floats>;

HWY_INLINE std::int64_t float_lanes() { return static_cast<std::int64_t>(hn::Lanes(Floats())); }

// max |x|; not-a-numbers are passed over, as std::max does.
HWY_INLINE float largest(const float* x, std::int64_t n) {
  const Floats d;
  auto most = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + float_lanes() <= n; i += float_lanes()) {
    most = hn::Max(hn::Abs(hn::LoadU(d, x + i)), most);
  }
  float result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < n; ++i) result = std::max(result, std::abs(x[i]));
  return result;
}

// The largest in size, with its sign: it has the code of 1, which maps without a -1 keep exactly.
HWY_INLINE float signed_largest(const float* x, std::int64_t n) {
  const Floats d;
  auto lows = hn::Zero(d), highs = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + float_lanes() <= n; i += float_lanes()) {
    const auto v = hn::LoadU(d, x + i);
    lows = hn::Min(v, lows);
    highs = hn::Max(v, highs);
  }
  float low = hn::GetLane(hn::MinOfLanes(d, lows)), high = hn::GetLane(hn::MaxOfLanes(d, highs));
  for (; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  return -low > high ? low : high;
}

// Of one that is not a number, itself, as std::clamp does.
template <class D>
HWY_INLINE hn::Vec<D> clamp_to_one(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0F), minus_one = hn::Set(d, -1.0F);
  const auto from_below = hn::IfThenElse(hn::Lt(x, minus_one), minus_one, x);
  return hn::IfThenElse(hn::Lt(one, x), one, from_below);
}

// The lowest bytes of codes.
template <class Code>
HWY_INLINE void store_bytes(hn::Vec<hn::RebindToSigned<Floats>> codes, Code* to) {
  const hn::RebindToUnsigned<Floats> du;
  const auto low = hn::And(hn::BitCast(du, codes), hn::Set(du, 0xFFU));
  hn::StoreU(hn::U8FromU32(low), hn::Rebind<std::uint8_t, Floats>(),
             reinterpret_cast<std::uint8_t*>(to));
}

// x / s. 1 / s overflows where s is subnormal: there the values are divided.
struct Scaling {
  float scale, inverse;
  bool divides;
  explicit Scaling(float s)
      : scale(s), inverse(s != 0.0F ? 1.0F / s : 0.0F), divides(!std::isfinite(inverse)) {}

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    if (divides) return clamp_to_one(d, hn::Div(x, hn::Set(d, scale)));
    return hn::Mul(x, hn::Set(d, inverse));
  }
};

// Calls step(i, x, codes) for kValues values from number i on; two codes of 4 bits share a byte.
template <int kCodesPerByte, std::int64_t kValues = kStep, class Code, class Step>
HWY_INLINE void encode_steps(const float* x, std::int64_t n, Code* codes, const Step& step) {
  std::int64_t i = 0;
  for (; i + kValues <= n; i += kValues) step(i, x + i, codes + i / kCodesPerByte);
  if (i == n) return;
  HWY_ALIGN float values[kValues] = {};
  HWY_ALIGN Code coded[kValues];
  std::copy_n(x + i, n - i, values);
  step(i, values, coded);
  const auto count = (n - i + kCodesPerByte - 1) / kCodesPerByte;
  if (kCodesPerByte == 2 && n % 2 != 0) coded[count - 1] = static_cast<Code>(coded[count - 1] & 15);
  std::copy_n(coded, count, codes + i / kCodesPerByte);
}

// Calls step(i, codes, x) for the 64 values from number i on.
template <int kCodesPerByte, class Code, class Step>
HWY_INLINE void decode_steps(const Code* codes, std::int64_t n, float* x, const Step& step) {
  std::int64_t i = 0;
  for (; i + kStep <= n; i += kStep) step(i, codes + i / kCodesPerByte, x + i);
  if (i == n) return;
  HWY_ALIGN float values[kStep];
  HWY_ALIGN Code coded[kStep] = {};
  std::copy_n(codes + i / kCodesPerByte, (n - i + kCodesPerByte - 1) / kCodesPerByte, coded);
  step(i, coded, values);
  std::copy_n(values, n - i, x + i);
}

// Calls task(number, begin, count) for every block.
template <class Task>
HWY_INLINE void over_blocks(const BlockedRun& run, const Task& task) {
  for (std::int64_t begin = 0; begin < run.count; begin += run.block) {
    task(begin / run.block, begin, std::min(run.block, run.count - begin));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#endif
