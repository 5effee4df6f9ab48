// The formats of core/parameters/master_weights.hpp, one number at a time: for loops on the CPU and
// for devices. Splitting takes the number's place in its tensor and a seed, which stochastic
// rounding alone looks at.
#pragma once

#include <cstdint>

#include "core/base/float_bits.hpp"
#include "core/base/mix64.hpp"

namespace blockwise {

// To the nearest, ties to even.
constexpr std::uint16_t nearest_bf16(float x) {
  const auto bits = bits_of(x);
  if (!is_finite(bits)) return not_finite_bf16(bits);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// What is beside a weight, where there is nothing.
struct NoResidual {};

template <typename Residual>
struct MasterHalves {
  std::uint16_t weight;
  Residual residual;
};

// To the nearest with ties away from zero, the largest finite bf16 at most; what is not finite has
// nothing beside it.
constexpr MasterHalves<std::int32_t> whole_halves(std::uint32_t bits) {
  if (!is_finite(bits)) return {not_finite_bf16(bits), 0};
  const auto up = (bits + 0x8000U) >> 16;
  const auto weight = static_cast<std::uint16_t>(is_finite(up << 16) ? up : bits >> 16);
  return {weight, static_cast<std::int32_t>(bits - (std::uint32_t{weight} << 16))};
}

struct LosslessMaster {
  using Residual = std::int16_t;
  static constexpr float join(std::uint16_t weight, Residual residual) {
    return float_of((std::uint32_t{weight} << 16) + static_cast<std::uint32_t>(residual));
  }
  static constexpr MasterHalves<Residual> split(float x, std::int64_t, std::uint64_t) {
    const auto [weight, rest] = whole_halves(bits_of(x));
    return {weight, static_cast<Residual>(rest < 32767 ? rest : 32767)};
  }
};

struct EightBitMaster {
  using Residual = std::int8_t;
  static constexpr float join(std::uint16_t weight, Residual residual) {
    return float_of((std::uint32_t{weight} << 16) + (static_cast<std::uint32_t>(residual) << 8));
  }
  static constexpr MasterHalves<Residual> split(float x, std::int64_t, std::uint64_t) {
    const auto [weight, rest] = whole_halves(bits_of(x));
    const auto upper = (rest + 128) >> 8;
    return {weight, static_cast<Residual>(upper < 127 ? upper : 127)};
  }
};

struct KahanMaster {
  using Residual = std::uint16_t;
  static constexpr float join(std::uint16_t weight, Residual compensation) {
    return from_bf16(weight) + from_bf16(compensation);
  }
  static constexpr MasterHalves<Residual> split(float x, std::int64_t, std::uint64_t) {
    const auto weight = nearest_bf16(x);
    return {weight, is_finite(bits_of(x)) ? compensation(x, weight) : Residual{0}};
  }

 private:
  // bf16(x - weight), a step nearer to zero where the sum would round to another weight. Zeros have
  // the weight's sign: the sum of zeros of two signs is positive.
  static constexpr Residual compensation(float x, std::uint16_t weight) {
    auto bits = nearest_bf16(x - from_bf16(weight));
    while ((bits & 0x7FFFU) != 0 && nearest_bf16(join(weight, bits)) != weight) --bits;
    return (bits & 0x7FFFU) == 0 ? static_cast<Residual>(weight & 0x8000U) : bits;
  }
};

struct StochasticMaster {
  using Residual = NoResidual;
  static constexpr float join(std::uint16_t weight, Residual) { return from_bf16(weight); }
  // The lowest bits of the number-th of a seed's random numbers.
  static constexpr MasterHalves<Residual> split(float x, std::int64_t number, std::uint64_t seed) {
    const auto random = mix64(seed ^ mix64(static_cast<std::uint64_t>(number)));
    return {random_bf16(x, static_cast<std::uint16_t>(random)), {}};
  }
};

struct NearestMaster {
  using Residual = NoResidual;
  static constexpr float join(std::uint16_t weight, Residual) { return from_bf16(weight); }
  static constexpr MasterHalves<Residual> split(float x, std::int64_t, std::uint64_t) {
    return {nearest_bf16(x), {}};
  }
};

}  // namespace blockwise
