// The vector loops of the state codes against scalar_codes.hpp, bit for bit, in every instruction
// set of this machine.
#define HWY_WANT_AVX3_DL 1  // as the loops have it

#include "optimizers/kernels/state_codes.hpp"

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/base/float_bits.hpp"
#include "optimizers/state/codecs/code_table_maps.hpp"
#include "tests/optimizers/kernels/scalar_codes.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
namespace scalar = blockwise::testing::scalar;
using kernels::Codes;
using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;
using Zero = kernels::CodeTable::Zero;

namespace {

// Calls check() with every instruction set as the best one.
template <typename Check>
void for_every_target(const Check& check) {
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    INFO(hwy::TargetName(target));
    // Lower bits are better instruction sets; loops that are not compiled for one take the next.
    hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & ~(target - 1));
    check();
    hwy::SetSupportedTargetsForTest(0);
  }
}

template <typename Number>
void append(Bytes& bytes, const std::vector<Number>& numbers) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(numbers.data());
  bytes.insert(bytes.end(), first, first + sizeof(Number) * numbers.size());
}

// The bf16 grid with random bits below, behind a 1 per block, so that it is coded as it is: all
// upper halves of sizes up to 1, of both signs.
Floats upper_halves(std::int64_t block) {
  std::mt19937 random(3);
  Floats x;
  for (std::uint32_t upper = 0; upper < 0x3F80; ++upper) {
    for (const auto sign : {0U, 0x80000000U}) {
      if (std::ssize(x) % block == 0) x.push_back(x.size() % 3 == 0 ? -1.0F : 1.0F);
      x.push_back(float_of(sign | (upper << 16) | (random() & 0xFFFFU)));
    }
  }
  return x;
}

// Every float32 has the same chance: most are far from each other, one in 256 is not finite.
Floats random_bits(std::int64_t n) {
  std::mt19937 random(5);
  Floats x;
  for (std::int64_t i = 0; i < n; ++i) x.push_back(float_of(static_cast<std::uint32_t>(random())));
  return x;
}

// Moments of all sizes, subnormal ones and the largest among them, with zeros of both signs.
Floats normal_values(std::int64_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  Floats x;
  for (std::int64_t i = 0; i < n; ++i) {
    const int exponent = static_cast<int>(i / 97 * 13 % 280) - 150;
    const float value = std::ldexp(normal(random), exponent - static_cast<int>(random() % 7));
    x.push_back(
        std::clamp(value, -std::numeric_limits<float>::max(), std::numeric_limits<float>::max()));
    if (random() % 31 == 0) x.back() = random() % 2 == 0 ? 0.0F : -0.0F;
  }
  return x;
}

Floats special_values(std::int64_t n) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float kinds[] = {0.0F,
                         -0.0F,
                         1.0F,
                         -1.0F,
                         0x1p-149F,
                         -0x1p-149F,
                         0x1p-127F,
                         0x1p-126F,
                         3.4e38F,
                         -3.4e38F,
                         infinity,
                         -infinity,
                         std::numeric_limits<float>::quiet_NaN(),
                         float_of(0xFF801234U),
                         float_of(0x7F800001U),
                         1e-30F};
  std::mt19937 random(11);
  Floats x;
  for (std::int64_t i = 0; i < n; ++i) {
    // A few kinds only in each run of 300.
    const auto kind = (static_cast<std::size_t>(i / 300) * 5 + random() % 4) % std::size(kinds);
    x.push_back(kinds[kind]);
  }
  return x;
}

// What is between two values of a table, and beside it, behind a 1 per block.
Floats beside_midpoints(const Floats& values, std::int64_t block) {
  Floats x;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle = 0.5F * (values[i] + values[i + 1]);
    for (const float near : {std::nextafter(middle, -2.0F), middle, std::nextafter(middle, 2.0F)}) {
      if (std::ssize(x) % block == 0) x.push_back(1.0F);
      x.push_back(near);
    }
  }
  return x;
}

std::vector<Floats> inputs(std::int64_t block) {
  std::vector<Floats> all = {upper_halves(block), random_bits(70'001), normal_values(200'003),
                             special_values(40'001)};
  const auto some = normal_values(40'000);
  for (std::int64_t n = 1; n <= 3 * block + 1; n += n < 300 || n % block < 3 ? 1 : 5) {
    all.emplace_back(some.begin() + 29 * (n % 1000), some.begin() + 29 * (n % 1000) + n);
  }
  return all;
}

// fast and slow: what each makes of the values, as bytes.
template <typename Fast, typename Slow>
void check_equal_bytes(const std::vector<Floats>& all, const Fast& fast, const Slow& slow) {
  std::vector<Bytes> expected;
  for (const auto& x : all) expected.push_back(slow(x));
  for_every_target([&] {
    for (std::size_t i = 0; i < all.size(); ++i) {
      INFO(i << ", " << all[i].size() << " values");
      const auto made = fast(all[i]);
      const auto differs = std::ranges::mismatch(made, expected[i]).in1 - made.begin();
      REQUIRE(differs == std::ssize(made));
    }
  });
}

struct Shape {
  std::int64_t block;
  int codes_per_byte;
};

// Codes and scales, and the values of other codes: bytes of x, with x for scales.
template <typename Encode, typename Decode>
auto coder(const Shape& shape, const Encode& encode, const Decode& decode) {
  return [=](const Floats& x) {
    const auto n = std::ssize(x), block = shape.block;
    Bytes codes(static_cast<std::size_t>((n + shape.codes_per_byte - 1) / shape.codes_per_byte));
    Floats scales(static_cast<std::size_t>((n + block - 1) / block)), values(x.size());
    encode(x.data(), n, block, Codes{codes.data(), scales.data()});
    Bytes bytes;
    append(bytes, codes);
    append(bytes, scales);
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = std::uint8_t(bits_of(x[i]) >> 13);
    std::copy_n(x.begin(), scales.size(), scales.begin());
    decode(Codes{codes.data(), scales.data()}, n, block, values.data());
    append(bytes, values);
    return bytes;
  };
}

// The map of dynamic_8bit.cpp.
Floats dynamic_map(bool is_signed) {
  Floats values = {0.0F, 1.0F};
  for (int decade = 0; decade < 7; ++decade) {
    const int count = 1 << (is_signed ? decade : decade + 1);
    for (int k = 0; k < count; ++k) {
      const double middle = 0.1 + 0.9 * (k + 0.5) / count;
      values.push_back(static_cast<float>(middle * std::pow(10.0, decade - 6)));
      if (is_signed) values.push_back(-values.back());
    }
  }
  std::ranges::sort(values);
  return values;
}

void check_table(const Floats& values, Zero zero, const Shape& shape) {
  const kernels::CodeTable table(values, zero);
  const scalar::CodeTable slow(values, zero);
  auto all = inputs(shape.block);
  all.push_back(beside_midpoints(values, shape.block));
  const bool is_byte = shape.codes_per_byte == 1;
  check_equal_bytes(
      all,
      coder(
          shape,
          [&](auto... x) { (is_byte ? kernels::encode_8bit : kernels::encode_4bit)(table, x...); },
          [&](auto... x) {
            (is_byte ? kernels::decode_8bit : kernels::decode_4bit)(table.values(), x...);
          }),
      coder(
          shape,
          [&](auto... x) { (is_byte ? scalar::encode_8bit : scalar::encode_4bit)(slow, x...); },
          [&](auto... x) { (is_byte ? scalar::decode_8bit : scalar::decode_4bit)(slow, x...); }));
}

}  // namespace

TEST_CASE("Vectors of table codes have the bits of scalars: 8 bits") {
  check_table(dynamic_map(true), Zero::plain, {256, 1});
  check_table(dynamic_map(false), Zero::for_zero_only, {256, 1});
  check_table(dynamic_map(false), Zero::plain, {128, 1});
}

TEST_CASE("Vectors of table codes have the bits of scalars: 4 bits") {
  check_table(signed_4bit_map(), Zero::plain, {128, 2});
  check_table(signed_4bit_map(), Zero::for_zero_only, {128, 2});
  check_table(linear_4bit_map(), Zero::for_zero_only, {128, 2});
}

TEST_CASE("Vectors of fp8 have the bits of scalars") {
  for (const auto zero : {Zero::plain, Zero::for_zero_only}) {
    check_equal_bytes(inputs(256),
                      coder(
                          {256, 1},
                          [&](const float* x, auto n, auto block, const Codes& stored) {
                            kernels::encode_fp8(x, n, block, zero, stored);
                          },
                          kernels::decode_fp8),
                      coder(
                          {256, 1},
                          [&](const float* x, auto n, auto block, const Codes& stored) {
                            scalar::encode_fp8(x, n, block, zero, stored);
                          },
                          scalar::decode_fp8));
  }
}

TEST_CASE("Vectors of codebook codes have the bits of scalars") {
  auto values = normal_values(256);
  std::mt19937 random(13);
  for (auto& value : values) value = 2.0F * float(random()) / 0x1p32F - 1.0F;
  values[3] = values[4] = std::nextafter(values[5], 2.0F);
  values[0] = -1.0F;
  values[1] = 0.0F;
  values[2] = values[7] = 1.0F;
  std::ranges::sort(values);
  const kernels::Codebook book(values);
  const scalar::Codebook slow(values);
  auto all = inputs(256);
  all.push_back(beside_midpoints(values, 256));
  check_equal_bytes(all,
                    coder(
                        {256, 1}, [&](auto... x) { kernels::encode_codebook(book, x...); },
                        [&](auto... x) { kernels::decode_codebook(book, x...); }),
                    coder(
                        {256, 1}, [&](auto... x) { scalar::encode_codebook(slow, x...); },
                        [&](auto... x) { scalar::decode_codebook(slow, x...); }));
}

namespace {

template <typename Code, typename Encode, typename Decode>
auto companded_coder(const Encode& encode, const Decode& decode) {
  return [=](const Floats& x) {
    const auto n = std::ssize(x);
    std::vector<Code> codes(x.size());
    std::vector<std::uint16_t> scales((x.size() + 31) / 32);
    Floats values(x.size());
    encode(x.data(), n, codes.data(), scales.data());
    Bytes bytes;
    append(bytes, codes);
    append(bytes, scales);
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<Code>(bits_of(x[i]) >> 13);
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = std::uint16_t(bits_of(x[i]) >> 16);
    decode(codes.data(), scales.data(), n, values.data());
    append(bytes, values);
    return bytes;
  };
}

}  // namespace

TEST_CASE("Vectors of companded codes have the bits of scalars") {
  const auto all = inputs(32);
  check_equal_bytes(
      all, companded_coder<std::int8_t>(kernels::encode_softsign, kernels::decode_softsign),
      companded_coder<std::int8_t>(scalar::encode_softsign, scalar::decode_softsign));
  check_equal_bytes(all, companded_coder<std::uint8_t>(kernels::encode_root, kernels::decode_root),
                    companded_coder<std::uint8_t>(scalar::encode_root, scalar::decode_root));
}

TEST_CASE("Vectors of bf16 have the bits of scalars") {
  const auto rounded = [](auto encode) {
    return [=](const Floats& x) {
      std::vector<std::uint16_t> bits(x.size());
      encode(x.data(), std::ssize(x), 77, bits.data());
      Bytes bytes;
      append(bytes, bits);
      return bytes;
    };
  };
  check_equal_bytes(inputs(64), rounded(kernels::encode_bf16), rounded(scalar::encode_bf16));
}

TEST_CASE("Vectors of codes with scales of rows and columns have the bits of scalars") {
  const auto values = linear_4bit_map();
  const kernels::CodeTable table(values, Zero::for_zero_only);
  const scalar::CodeTable slow(values, Zero::for_zero_only);
  const auto matrix_coder = [](std::int64_t columns, auto encode, auto decode) {
    return [=](const Floats& x) {
      const kernels::CodeShape shape{std::ssize(x) / columns, columns};
      Bytes codes(static_cast<std::size_t>((shape.rows * columns + 1) / 2));
      Floats rows(static_cast<std::size_t>(shape.rows)), maxima(static_cast<std::size_t>(columns));
      Floats kept(static_cast<std::size_t>(shape.rows * columns));
      const kernels::RankOneCodes stored{codes.data(), rows.data(), maxima.data()};
      encode(x.data(), shape, stored);
      decode(stored, shape, kept.data());
      Bytes bytes;
      for (const auto& part : {rows, maxima, kept}) append(bytes, part);
      append(bytes, codes);
      return bytes;
    };
  };
  std::vector<Floats> all = {random_bits(20'000), normal_values(40'003), special_values(9'001)};
  all.push_back(all[1]);
  for (auto& x : all.back()) x = std::abs(x);
  for (const std::int64_t columns : {1, 2, 7, 63, 64, 65, 300, 1024}) {
    check_equal_bytes(all,
                      matrix_coder(
                          columns, [&](auto... x) { kernels::encode_rank1(table, x...); },
                          [&](auto... x) { kernels::decode_rank1(table, x...); }),
                      matrix_coder(
                          columns, [&](auto... x) { scalar::encode_rank1(slow, x...); },
                          [&](auto... x) { scalar::decode_rank1(slow, x...); }));
  }
}
