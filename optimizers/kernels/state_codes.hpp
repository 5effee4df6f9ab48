// Float32 values of an optimizer's state in fewer bits, and back. Values come in blocks that share
// one scale; the last block of a tensor may be shorter. Every function writes each output element
// once, independent of the number of threads. Values must be finite.
#pragma once

#include <cstdint>

#include "optimizers/kernels/code_table.hpp"

namespace blockwise::kernels {

// s: of each block of `block` values the one that is largest in size, with its sign, so that it is
// kept exactly whatever its sign. (Maps of the literature end at 1 and above -1: with s = max |x|
// the size of a negative largest value shrinks at every step.) One byte per code.
struct Codes {
  std::uint8_t* codes;
  float* scales;
};
void encode_8bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored);
void decode_8bit(const NumberTable& values, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x);

// Two codes per byte, the first in the low half; block is even.
void encode_4bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored);
void decode_4bit(const NumberTable& values, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x);

// float8_e4m3fn of x / s, to the nearest and of two equally near the even one; s = max |x| / 448 of
// each block. With for_zero_only x > 0 is at least the smallest value, 2^-9.
inline constexpr float kLargestFp8 = 448.0F;
std::uint8_t to_fp8(float x);  // |x| at most kLargestFp8
float from_fp8(std::uint8_t bits);
void encode_fp8(const float* x, std::int64_t n, std::int64_t block, CodeTable::Zero zero,
                const Codes& stored);
void decode_fp8(const Codes& stored, std::int64_t n, std::int64_t block, float* x);

// s: as |x| is largest, which makes the ends -1 and 1 useful.
void encode_codebook(const Codebook& book, const float* x, std::int64_t n, std::int64_t block,
                     const Codes& stored);
void decode_codebook(const Codebook& book, const Codes& stored, std::int64_t n, std::int64_t block,
                     float* x);

// A matrix x >= 0, row-major, in two codes per byte, the first in the low half, with a scale per
// row and per column, r_i = max_j x_ij and c_j = max_i x_ij: the code of x_ij / min(r_i, c_j).
struct CodeShape {
  std::int64_t rows, columns;
};
struct RankOneCodes {
  std::uint8_t* codes;
  float* rows;
  float* columns;
};
void encode_rank1(const CodeTable& table, const float* x, const CodeShape& shape,
                  const RankOneCodes& stored);
void decode_rank1(const CodeTable& table, const RankOneCodes& stored, const CodeShape& shape,
                  float* x);

// Companded 8 bits in blocks of kCompandedBlock with the scale in bf16, rounded up so that nothing
// exceeds it.
//   softsign: y = x / s, z = 2 y / (1 + |y|), code = round(127 z); back y = z / (2 - |z|)
//   root:     r = sqrt(x), code = round(255 r / s), at least 1 for x > 0; x >= 0
inline constexpr std::int64_t kCompandedBlock = 32;
float softsign_value(std::uint8_t code);  // of an int8's bits at the scale 1
float root_value(std::uint8_t code);      // the root
struct CompandedCodes {
  const std::uint8_t* codes;
  const std::uint16_t* scales;
};
void encode_softsign(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales);
void decode_softsign(const std::int8_t* codes, const std::uint16_t* scales, std::int64_t n,
                     float* x);
void encode_root(const float* x, std::int64_t n, std::uint8_t* codes, std::uint16_t* scales);
void decode_root(const std::uint8_t* codes, const std::uint16_t* scales, std::int64_t n, float* x);

// bf16 by stochastic rounding: x goes to the neighbour towards or away from 0 with the probability
// that makes the mean x. The random bits are a function of seed and the element's number.
void encode_bf16(const float* x, std::int64_t n, std::uint64_t seed, std::uint16_t* bits);
void decode_bf16(const std::uint16_t* bits, std::int64_t n, float* x);

}  // namespace blockwise::kernels
