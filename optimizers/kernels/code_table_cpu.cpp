#include "optimizers/kernels/code_table.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "core/base/float_bits.hpp"

namespace blockwise::kernels {
namespace {

constexpr std::uint32_t kSign = 0x80000000U;
constexpr std::uint32_t kOne = 0x3F800000U;
constexpr std::uint32_t kSmallestExponent = 96;  // 2^-31
constexpr int kMantissaBits = 7;                 // of the upper 16

std::array<float, 256> midpoints_of(std::span<const float> values) {
  std::array<float, 256> midpoints{};
  midpoints.fill(std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    midpoints[i] = 0.5F * (values[i] + values[i + 1]);
  }
  return midpoints;
}

// Sizes from first to last, both as bits, of one sign.
struct Bucket {
  std::uint32_t first, last;
  std::uint32_t sign;

  float smallest() const { return float_of(sign | (sign != 0 ? last : first)); }
  float largest() const { return float_of(sign | (sign != 0 ? first : last)); }
};

// Codes of the smallest and of the largest x of a bucket.
struct CodeRange {
  std::uint8_t low, high;
  CodeRange(const CodeTable& table, const Bucket& bucket)
      : low(table.code(bucket.smallest())), high(table.code(bucket.largest())) {}
  bool has_one_threshold_at_most() const { return high <= low + 1; }
};

// The part of an exponent with this number among 2^bits; those of the smallest one begin at 0.
Bucket part_of_exponent(std::uint32_t exponent, int bits, std::uint32_t number,
                        std::uint32_t sign) {
  const auto first = (exponent << 23) | (number << (23 - bits));
  const auto last = first + (1U << (23 - bits)) - 1;
  return {exponent == kSmallestExponent && number == 0 ? 0 : first, last, sign};
}

// The least bits of the mantissa that tell an exponent's thresholds apart.
int bits_of_exponent(const CodeTable& table, std::uint32_t exponent, std::uint32_t sign) {
  for (int bits = 0; bits <= kMantissaBits; ++bits) {
    bool apart = true;
    for (std::uint32_t k = 0; k < (1U << bits) && apart; ++k) {
      apart =
          CodeRange(table, part_of_exponent(exponent, bits, k, sign)).has_one_threshold_at_most();
    }
    if (apart) return bits;
  }
  throw std::invalid_argument("the values of a code table are too close to each other");
}

}  // namespace

NumberTable::NumberTable(const std::array<float, 256>& values) : numbers(values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t k = 0; k < bytes.size(); ++k) {
      bytes[k][i] = static_cast<std::uint8_t>(bits_of(values[i]) >> (8 * k));
    }
  }
}

NumberTable::NumberTable(float (*value_of)(std::uint8_t)) {
  std::array<float, 256> values{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = value_of(static_cast<std::uint8_t>(i));
  }
  *this = NumberTable(values);
}

CodeTable::CodeTable(std::span<const float> ascending, Zero zero) : size_(ascending.size()) {
  std::array<float, 256> values{};
  std::copy(ascending.begin(), ascending.end(), values.begin());
  values_ = NumberTable(values);
  auto thresholds = midpoints_of(ascending);
  if (zero == Zero::for_zero_only) {
    // Then x > 0 is above the thresholds of all values up to 0.
    const auto least_positive = std::ranges::upper_bound(ascending, 0.0F) - ascending.begin();
    for (std::ptrdiff_t i = 0; i < least_positive; ++i) {
      thresholds[std::size_t(i)] = std::min(thresholds[std::size_t(i)], 0.0F);
    }
  }
  thresholds_ = NumberTable(thresholds);
  fill_buckets();
  fill_keys();
}

std::uint8_t CodeTable::code(float x) const {
  if (std::isnan(x)) return 0;
  const auto begin = thresholds_.numbers.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(size_) - 1;
  return static_cast<std::uint8_t>(std::lower_bound(begin, end, x) - begin);
}

void CodeTable::fill_buckets() {
  std::uint32_t least = kOne;
  for (const float threshold : thresholds_.numbers) {
    if (threshold != 0.0F) least = std::min(least, bits_of(threshold) & ~kSign);
  }
  buckets_.base = (least >> 16) - 1;
  buckets_.count = (kOne >> 16) + 2 - buckets_.base;
  buckets_.zero = code(0.0F);
  for (const auto sign : {0U, kSign}) {
    for (std::uint32_t k = 0; k + 1 < buckets_.count; ++k) {
      // A threshold of 0 is none of the first bucket's, whose zeros are told apart.
      const auto first = k == 0 ? 1 : (buckets_.base + k) << 16;
      const Bucket bucket{first, ((buckets_.base + k) << 16) | 0xFFFFU, sign};
      const CodeRange codes(*this, bucket);
      if (!codes.has_one_threshold_at_most()) {
        throw std::invalid_argument("the values of a code table are too close to each other");
      }
      std::uint32_t entry = std::uint32_t{codes.low} << 16;
      if (codes.high != codes.low) {
        const auto lower = bits_of(thresholds_.numbers[codes.low]) & 0xFFFFU;
        entry += sign != 0 ? lower : 0xFFFFU - lower;
      }
      buckets_.entries.push_back(entry);
    }
    buckets_.entries.push_back(0);
  }
}

void CodeTable::fill_keys() {
  std::uint32_t key = 0;
  for (const auto sign : {kSign, 0U}) {
    for (std::uint32_t exponent = kSmallestExponent; exponent < kSmallestExponent + 32;
         ++exponent) {
      const int bits = bits_of_exponent(*this, exponent, sign);
      if (key + (1U << bits) > keys_.first.size()) {
        throw std::invalid_argument("the values of a code table have too many keys");
      }
      const auto e = (exponent & 31U) + (sign != 0 ? 0 : 32);
      const auto shift = static_cast<std::uint32_t>(kMantissaBits - bits);
      keys_.shift[e] = static_cast<std::uint16_t>(shift);
      keys_.offset[e] = static_cast<std::uint16_t>(key - ((exponent << kMantissaBits) >> shift));
      for (std::uint32_t k = 0; k < (1U << bits); ++k) {
        keys_.first[key++] = CodeRange(*this, part_of_exponent(exponent, bits, k, sign)).low;
      }
    }
  }
}

Codebook::Codebook(std::span<const float> ascending) {
  std::array<float, 256> values{};
  std::copy_n(ascending.begin(), values.size(), values.begin());
  values_ = NumberTable(values);
  const auto midpoints = midpoints_of(ascending);
  for (std::size_t round = 0; round < rounds_.size(); ++round) {
    const auto half = std::size_t{128} >> round;
    std::array<float, 256> middle{};
    for (std::size_t code = 0; code < middle.size(); code += 2 * half) {
      middle[code] = midpoints[code + half - 1];
    }
    rounds_[round] = NumberTable(middle);
  }
}

std::uint8_t Codebook::code(float x) const {
  std::size_t code = 0;
  for (std::size_t round = 0; round < rounds_.size(); ++round) {
    if (x > rounds_[round].numbers[code]) code += std::size_t{128} >> round;
  }
  return static_cast<std::uint8_t>(code);
}

}  // namespace blockwise::kernels
