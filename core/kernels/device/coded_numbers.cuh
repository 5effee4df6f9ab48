// Numbers by codes with a scale for every block of them: what 256 threads do with a run of numbers.
// A warp has 256 numbers at a time, eight to a lane, 32 apart, so that the accesses of a warp lie
// side by side and blocks of 32, 128 and 256 are rows of it.
#pragma once

#include <cuda_runtime.h>

#include "core/base/float_bits.hpp"
#include "core/kernels/device/number_formats.hpp"

namespace blockwise {
namespace {

constexpr int kCodeThreads = 256;
constexpr int kLanes = 32;
constexpr int kRows = 8;  // of a warp's 256 numbers

// Of the values of one block.
struct Extremes {
  float low = 0.0f, high = 0.0f;

  __device__ void add(float x) {
    low = x < low ? x : low;
    high = x > high ? x : high;
  }
  __device__ void share() {
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
      const float other_low = __shfl_xor_sync(0xffffffffu, low, distance);
      const float other_high = __shfl_xor_sync(0xffffffffu, high, distance);
      low = other_low < low ? other_low : low;
      high = other_high > high ? other_high : high;
    }
  }
  __device__ float signed_largest() const { return -low > high ? low : high; }
  __device__ float largest() const { return -low > high ? -low : high; }
};

// x / s. 1 / s overflows where s is subnormal: there the values are divided.
struct BlockScaling {
  float scale, inverse;
  bool divides;

  __device__ explicit BlockScaling(float s)
      : scale(s), inverse(s != 0.0f ? 1.0f / s : 0.0f), divides(!is_finite(bits_of(inverse))) {}
  __device__ float operator()(float x) const {
    if (!divides) return x * inverse;
    const float y = x / scale;
    return y < -1.0f ? -1.0f : 1.0f < y ? 1.0f : y;
  }
};

// Every lookup is one of 256 numbers that the block of threads has beside it.
struct CodeTables {
  const float* values;
  const float* thresholds;
  bool keeps_positive;

  // Thresholds below x; 0 of a not-a-number.
  __device__ std::uint8_t code(float x) const {
    int code = 0;
#pragma unroll
    for (int half = 128; half > 0; half /= 2) {
      if (x > thresholds[code + half - 1]) code += half;
    }
    return static_cast<std::uint8_t>(code);
  }
};

// Formats have: the numbers of a block, codes to a byte, the scale as it is stored and as a number,
// the code of a value, and what a code's value times the scale is finished to.
template <int codes_per_byte, int block>
struct TableFormat {
  static constexpr int kBlock = block, kCodesPerByte = codes_per_byte;
  using Scale = float;
  __device__ static Scale scale(const Extremes& x) { return x.signed_largest(); }
  __device__ static float divisor(const Extremes& x, Scale) { return x.signed_largest(); }
  __device__ static float number(Scale scale) { return scale; }
  __device__ static std::uint8_t code(const CodeTables& tables, const BlockScaling& scaled,
                                      float x) {
    return tables.code(scaled(x));
  }
  __device__ static float finish(float x) { return x; }
};

struct Fp8Format {
  static constexpr int kBlock = 256, kCodesPerByte = 1;
  static constexpr float kLargest = 448.0f;
  using Scale = float;
  __device__ static Scale scale(const Extremes& x) { return x.largest() / kLargest; }
  __device__ static float divisor(const Extremes& x, Scale) { return x.largest(); }
  __device__ static float number(Scale scale) { return scale; }
  __device__ static std::uint8_t code(const CodeTables& tables, const BlockScaling& scaled,
                                      float x) {
    const auto code = nearest(scaled(x) * kLargest);
    return tables.keeps_positive && x > 0.0f && code == 0 ? std::uint8_t{1} : code;
  }
  __device__ static float finish(float x) { return x; }

 private:
  // Below 2^-6 steps are 2^-9, which float32 has beside 2^14.
  __device__ static std::uint8_t nearest(float x) {
    const auto sign = (bits_of(x) >> 24) & 0x80u;
    const auto size = bits_of(x) & 0x7fffffffu;
    const float length = float_of(size);
    const auto small = bits_of(length + 0x1p14f) - bits_of(0x1p14f);
    const auto large = ((size + 0x7ffffu + ((size >> 20) & 1u)) >> 20) - (120u << 3);
    return static_cast<std::uint8_t>(sign | (length < 0x1p-6f ? small : large));
  }
};

// The largest finite one at most.
__device__ std::uint16_t bf16_above(float x) {
  const auto up = (bits_of(x) + 0xffffu) >> 16;
  return static_cast<std::uint16_t>(up < 0x7f7fu ? up : 0x7f7fu);
}

struct SoftsignFormat {
  static constexpr int kBlock = 32, kCodesPerByte = 1;
  using Scale = std::uint16_t;
  __device__ static Scale scale(const Extremes& x) { return bf16_above(x.largest()); }
  __device__ static float divisor(const Extremes&, Scale scale) { return from_bf16(scale); }
  __device__ static float number(Scale scale) { return from_bf16(scale); }
  __device__ static std::uint8_t code(const CodeTables&, const BlockScaling& scaled, float x) {
    const float y = scaled(x);
    const float z = 254.0f * y / (1.0f + fabsf(y));
    return static_cast<std::uint8_t>(z == z ? static_cast<int>(rintf(z)) : 0);
  }
  __device__ static float finish(float x) { return x; }
};

struct RootFormat {
  static constexpr int kBlock = 32, kCodesPerByte = 1;
  using Scale = std::uint16_t;
  __device__ static Scale scale(const Extremes& x) { return bf16_above(sqrtf(x.largest())); }
  __device__ static float divisor(const Extremes&, Scale scale) { return from_bf16(scale); }
  __device__ static float number(Scale scale) { return from_bf16(scale); }
  __device__ static std::uint8_t code(const CodeTables&, const BlockScaling& scaled, float x) {
    if (!(x > 0.0f) || !is_finite(bits_of(x))) return 0;
    const auto code = static_cast<int>(rintf(255.0f * scaled(sqrtf(x))));
    return static_cast<std::uint8_t>(code > 1 ? code : 1);
  }
  __device__ static float finish(float root) { return root * root; }
};

// Consecutive numbers that begin with a block, and their codes and scales.
struct NumberRun {
  std::int64_t first;  // in the tensor, a multiple of 256
  int count;
};

// Calls body(row, number) for the numbers of a lane that are there.
template <typename Body>
__device__ void for_rows(int lane, int count, const Body& body) {
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const int number = row * kLanes + lane;
    if (number < count) body(row, number);
  }
}

// The scales of a warp's blocks, which are stored, as numbers to divide by, one for each row.
template <class Format>
__device__ void find_scales(const float (&x)[kRows], int lane, int count,
                            typename Format::Scale* stored, float (&divisors)[kRows]) {
  constexpr int kRowsPerBlock = Format::kBlock / kLanes;
#pragma unroll
  for (int first = 0; first < kRows; first += kRowsPerBlock) {
    Extremes extremes;
#pragma unroll
    for (int row = first; row < first + kRowsPerBlock; ++row) extremes.add(x[row]);
    extremes.share();
    const auto scale = Format::scale(extremes);
    const float divisor = Format::divisor(extremes, scale);
    if (lane == 0 && first * kLanes < count) stored[first / kRowsPerBlock] = scale;
#pragma unroll
    for (int row = first; row < first + kRowsPerBlock; ++row) divisors[row] = divisor;
  }
}

// Of two codes to a byte the lanes with an even number store both; behind the last one is a 0.
template <class Format>
__device__ void store_code(std::uint8_t code, int number, int count, std::uint8_t* codes) {
  if constexpr (Format::kCodesPerByte == 1) {
    if (number < count) codes[number] = code;
  } else {
    const int mine = number < count ? code : 0;
    const int next = __shfl_xor_sync(0xffffffffu, mine, 1);
    if (number % 2 == 0 && number < count) {
      codes[number / 2] = static_cast<std::uint8_t>(mine | (next << 4));
    }
  }
}

// x: the run's first number.
template <class Format>
__device__ void encode_run(const CodeTables& tables, const float* x, const NumberRun& run,
                           const StoredNumbers& stored) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  constexpr int kWarpStep = kCodeThreads / kLanes * kRows * kLanes;
  for (int at = static_cast<int>(threadIdx.x) / kLanes * kRows * kLanes; at < run.count;
       at += kWarpStep) {
    const auto first = run.first + at;
    const int count = run.count - at;
    float values[kRows] = {}, divisors[kRows];
    for_rows(lane, count, [&](int row, int number) { values[row] = x[at + number]; });
    auto* scales = static_cast<typename Format::Scale*>(stored.beside) + first / Format::kBlock;
    find_scales<Format>(values, lane, count, scales, divisors);
    auto* codes = static_cast<std::uint8_t*>(stored.numbers) + first / Format::kCodesPerByte;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const auto code = Format::code(tables, BlockScaling(divisors[row]), values[row]);
      store_code<Format>(code, row * kLanes + lane, count, codes);
    }
  }
}

template <class Format>
__device__ void decode_run(const CodeTables& tables, const StoredNumbers& stored,
                           const NumberRun& run, float* x) {
  const auto* codes = static_cast<const std::uint8_t*>(stored.numbers);
  const auto* scales = static_cast<const typename Format::Scale*>(stored.beside);
  for (int at = static_cast<int>(threadIdx.x); at < run.count; at += kCodeThreads) {
    const auto number = run.first + at;
    int code = codes[number / Format::kCodesPerByte];
    if constexpr (Format::kCodesPerByte == 2) code = number % 2 == 0 ? code & 15 : code >> 4;
    x[at] = Format::finish(tables.values[code] * Format::number(scales[number / Format::kBlock]));
  }
}

}  // namespace
}  // namespace blockwise
