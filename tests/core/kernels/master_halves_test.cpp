// Against the formulas of core/parameters/master_weights.hpp, value by value, on every instruction
// set that the machine has.
#include "core/kernels/master_halves.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "core/base/float_bits.hpp"
#include "tests/core/kernels/every_target.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Halves {
  std::uint16_t weight;
  std::int32_t residual;
};

// To the nearest with ties away from zero, the largest finite bf16 at most; numbers that are none
// keep their kind and nothing beside them.
Halves halves_of(std::uint32_t bits) {
  if (!is_finite(bits)) return {not_finite_bf16(bits), 0};
  const auto up = (bits + 0x8000U) >> 16;
  const auto weight = static_cast<std::uint16_t>(is_finite(up << 16) ? up : bits >> 16);
  return {weight, static_cast<std::int32_t>(bits - (std::uint32_t{weight} << 16))};
}

std::int16_t residual_of(const Halves& halves, std::int16_t) {
  return static_cast<std::int16_t>(std::min(halves.residual, 32767));
}
std::int8_t residual_of(const Halves& halves, std::int8_t) {
  return static_cast<std::int8_t>(std::min((halves.residual + 128) >> 8, 127));
}

// Random bits, among them every kind of number; and what is special, alone in a vector and not.
std::vector<float> numbers(std::size_t n) {
  std::mt19937 generator(5);
  std::vector<float> x(n);
  for (auto& value : x) value = float_of(generator());
  const std::uint32_t special[] = {0U,          0x80000000U, 0x7F800000U, 0xFF800000U, 0x7F800001U,
                                   0xFFC00000U, 0x7F7FFFFFU, 0xFF7FFFFFU, 0x7F7F8000U, 0x00000001U,
                                   0x3F808000U, 0xBF808000U, 0x3F807FFFU};
  for (std::size_t i = 0; i < std::size(special) && 7 * i < n; ++i) x[7 * i] = float_of(special[i]);
  return x;
}

template <typename Residual>
void check_halves(std::size_t n) {
  INFO(n << " numbers, residuals of " << sizeof(Residual) << " bytes");
  const auto x = numbers(n);
  std::vector<std::uint16_t> weight(n + 1, 0xABCD);
  std::vector<Residual> residual(n + 1, Residual{77});
  split_halves(x.data(), std::int64_t(n), weight.data(), residual.data());
  std::vector<float> joined(n + 1, 7.0F);
  join_halves(weight.data(), residual.data(), std::int64_t(n), joined.data());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto wanted = halves_of(bits_of(x[i]));
    wrong += weight[i] != wanted.weight || residual[i] != residual_of(wanted, Residual{});
    const auto scale = sizeof(Residual) == 1 ? 256 : 1;
    wrong += bits_of(joined[i]) !=
             (std::uint32_t{weight[i]} << 16) + static_cast<std::uint32_t>(residual[i] * scale);
  }
  CHECK(wrong == 0);
  // Nothing behind the end is touched.
  CHECK(weight[n] == 0xABCD);
  CHECK(residual[n] == 77);
  CHECK(joined[n] == 7.0F);
}

}  // namespace

TEST_CASE("Master halves: the formulas' bits, on every instruction set") {
  on_every_target([] {
    for (const std::size_t n : {1U, 3U, 15U, 16U, 17U, 100U, 65536U}) {
      check_halves<std::int16_t>(n);
      check_halves<std::int8_t>(n);
    }
  });
}
