// Tables of up to 256 values in [-1, 1], ascending, and the code of the value nearest to an x. All
// of them say a code as the number of thresholds below x, with thresholds between neighbours.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace blockwise::kernels {

// 256 float32 numbers that are looked up by bytes.
struct NumberTable {
  alignas(64) std::array<float, 256> numbers{};
  // Byte k of every number, for instructions that permute bytes.
  alignas(64) std::array<std::array<std::uint8_t, 256>, 4> bytes{};

  NumberTable() = default;
  explicit NumberTable(const std::array<float, 256>& values);
  explicit NumberTable(float (*value_of)(std::uint8_t));
};

// Where among the thresholds x is, by its upper 16 bits, which are one of at most 2^16 buckets; a
// bucket has one threshold at most, with the lower bits t. Sizes below 2^16 base share one bucket.
//   x > 0: entry = (code of its smallest x) 2^16 + 0xFFFF - t, code of x = (entry + lower) / 2^16
//   x < 0: entry = (code of its smallest x) 2^16 + t, and lower with all bits the other way
// The last bucket of either sign, for not-a-numbers, has the code 0.
struct CodeBuckets {
  std::uint32_t base = 0, count = 0;   // of a sign
  std::uint32_t zero = 0;              // the code of x = 0
  std::vector<std::uint32_t> entries;  // of x > 0, then of x < 0
};

// The same for instructions that permute few bytes: as many bits of the mantissa as each exponent's
// thresholds need, none for most. With the exponent's lowest five bits e, or 2^-31 for what is
// smaller, and the upper 15 bits a of |x|: key = (a >> shift[e]) + offset[e], and the code is
// first[key], or one more where x is above that threshold.
struct CodeKeys {
  // Of x < 0, then of x > 0, by e.
  alignas(64) std::array<std::uint16_t, 64> shift{}, offset{};
  alignas(64) std::array<std::uint8_t, 512> first{};
};

// x with the scale s is stored as the code of the value that is nearest to x / s, the lower one of
// two that are equally near; 0 for not-a-numbers.
class CodeTable {
 public:
  enum class Zero {
    plain,         // a small x may become 0
    for_zero_only  // x > 0 never becomes 0: a second moment of 0 would divide by eps alone
  };

  // Throws std::invalid_argument where two midpoints of neighbours share their upper 16 bits of
  // float32, or there are more than 512 keys, which no table with relative steps of 1 % in two
  // signs, or 0.5 % in one, and seven decades has.
  CodeTable(std::span<const float> ascending, Zero zero);

  float value(std::uint8_t code) const { return values_.numbers[code]; }
  std::uint8_t code(float x) const;
  std::size_t size() const { return size_; }
  const NumberTable& values() const { return values_; }
  // Between a value and the next; infinity behind the last.
  const NumberTable& thresholds() const { return thresholds_; }
  const CodeBuckets& buckets() const { return buckets_; }
  const CodeKeys& keys() const { return keys_; }

 private:
  void fill_buckets();
  void fill_keys();

  std::size_t size_;
  NumberTable values_, thresholds_;
  CodeBuckets buckets_;
  CodeKeys keys_;
};

// Any values in [-1, 1], ascending, as close to each other as they like: codes by bisection.
class Codebook {
 public:
  explicit Codebook(std::span<const float> ascending);  // 256
  float value(std::uint8_t code) const { return values_.numbers[code]; }
  std::uint8_t code(float x) const;
  const NumberTable& values() const { return values_; }
  // Of each of eight rounds, by the code so far: what x is compared with.
  const std::array<NumberTable, 8>& rounds() const { return rounds_; }

 private:
  NumberTable values_;
  std::array<NumberTable, 8> rounds_;
};

}  // namespace blockwise::kernels
