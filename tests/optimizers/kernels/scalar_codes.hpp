// The state codes of optimizers/kernels/state_codes.hpp value by value, as they were first written:
// what the vector loops have to equal bit for bit.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "optimizers/kernels/state_codes.hpp"

namespace blockwise::testing::scalar {

using kernels::Codes;
using kernels::CodeShape;
using kernels::RankOneCodes;

class CodeTable {
 public:
  using Zero = kernels::CodeTable::Zero;
  CodeTable(std::span<const float> ascending, Zero zero);

  float value(std::uint8_t code) const { return values_[code]; }
  std::uint8_t code(float x) const;
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::array<float, 256> values_{};
  std::array<float, 256> midpoints_{};  // between a value and the next; infinity behind the last
  std::vector<std::uint8_t> first_;     // code of the smallest float with these upper 16 bits
  int least_positive_ = 0;              // code of the smallest value above 0, for for_zero_only
};

void encode_8bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored);
void decode_8bit(const CodeTable& table, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x);
void encode_4bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored);
void decode_4bit(const CodeTable& table, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x);
void encode_fp8(const float* x, std::int64_t n, std::int64_t block, CodeTable::Zero zero,
                const Codes& stored);
void decode_fp8(const Codes& stored, std::int64_t n, std::int64_t block, float* x);

class Codebook {
 public:
  explicit Codebook(std::span<const float> ascending);  // 256
  float value(std::uint8_t code) const { return values_[code]; }
  std::uint8_t code(float x) const;

 private:
  std::array<float, 256> values_{};
  std::array<float, 256> midpoints_{};
};
void encode_codebook(const Codebook& book, const float* x, std::int64_t n, std::int64_t block,
                     const Codes& stored);
void decode_codebook(const Codebook& book, const Codes& stored, std::int64_t n, std::int64_t block,
                     float* x);

void encode_rank1(const CodeTable& table, const float* x, const CodeShape& shape,
                  const RankOneCodes& stored);
void decode_rank1(const CodeTable& table, const RankOneCodes& stored, const CodeShape& shape,
                  float* x);

void encode_softsign(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales);
void decode_softsign(const std::int8_t* codes, const std::uint16_t* scales, std::int64_t n,
                     float* x);
void encode_root(const float* x, std::int64_t n, std::uint8_t* codes, std::uint16_t* scales);
void decode_root(const std::uint8_t* codes, const std::uint16_t* scales, std::int64_t n, float* x);

void encode_bf16(const float* x, std::int64_t n, std::uint64_t seed, std::uint16_t* bits);

}  // namespace blockwise::testing::scalar
