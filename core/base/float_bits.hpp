// The bits of fp32 numbers, and of bf16 ones, which are the upper halves of fp32 numbers.
#pragma once

#include <bit>
#include <cstdint>

namespace blockwise {

constexpr std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
constexpr float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
constexpr float from_bf16(std::uint16_t bits) { return float_of(std::uint32_t{bits} << 16); }

// Of the bits of an fp32 number: neither infinite nor a not-a-number.
constexpr bool is_finite(std::uint32_t bits) { return (bits & 0x7F800000U) != 0x7F800000U; }

// Of the bits of an fp32 number that is not finite, with a mantissa that stays one of a
// not-a-number.
constexpr std::uint16_t not_finite_bf16(std::uint32_t bits) {
  const bool is_nan = (bits & 0x007FFFFFU) != 0;
  return static_cast<std::uint16_t>((bits >> 16) | (is_nan ? 0x40U : 0U));
}

// Adds 16 random bits below the cut and cuts: E[result] = x.
constexpr std::uint16_t random_bf16(float x, std::uint16_t random) {
  const auto bits = bits_of(x);
  if (!is_finite(bits)) return not_finite_bf16(bits);
  return static_cast<std::uint16_t>((bits + random) >> 16);
}

}  // namespace blockwise
