#include "core/parameters/master_weights.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/float_bits.hpp"
#include "core/base/mix64.hpp"
#include "core/base/random_stream.hpp"
#include "core/kernels/master_halves.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;  // elements per task

std::uint16_t* bf16_data(const at::Tensor& x) {
  return reinterpret_cast<std::uint16_t*>(x.data_ptr<at::BFloat16>());
}

// To the nearest, ties to even.
std::uint16_t nearest_bf16(float x) {
  const auto bits = bits_of(x);
  if (!is_finite(bits)) return not_finite_bf16(bits);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// bf16(x - weight), a step nearer to zero where the sum would round to another weight. Zeros have
// the weight's sign: the sum of zeros of two signs is positive.
std::uint16_t compensation_of(float x, std::uint16_t weight) {
  auto bits = nearest_bf16(x - from_bf16(weight));
  const auto is_zero = [&bits] { return (bits & 0x7FFFU) == 0; };
  while (!is_zero() && nearest_bf16(from_bf16(weight) + from_bf16(bits)) != weight) --bits;
  return is_zero() ? static_cast<std::uint16_t>(weight & 0x8000U) : bits;
}

// The lowest bits of the number-th of a seed's random numbers.
std::uint16_t random_bits(std::uint64_t seed, std::int64_t number) {
  return static_cast<std::uint16_t>(mix64(seed ^ mix64(static_cast<std::uint64_t>(number))));
}

template <typename Element>
void over(std::int64_t n, const Element& element) {
  at::parallel_for(0, n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) element(i);
  });
}

// The upper and lower halves of float32 numbers (core/kernels/master_halves.hpp).
template <typename Residual>
void join(const SplitMaster& split, const at::Tensor& master) {
  const auto* weight = bf16_data(split.weight);
  const auto* residual = split.residual.data_ptr<Residual>();
  auto* x = master.data_ptr<float>();
  at::parallel_for(0, master.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    join_halves(weight + begin, residual + begin, end - begin, x + begin);
  });
}

template <typename Residual>
void split_in_two(const at::Tensor& master, const SplitMaster& split) {
  const auto* x = master.data_ptr<float>();
  auto* weight = bf16_data(split.weight);
  auto* residual = split.residual.data_ptr<Residual>();
  at::parallel_for(0, master.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    split_halves(x + begin, end - begin, weight + begin, residual + begin);
  });
}

}  // namespace

const std::vector<std::string>& master_weights_names() {
  static const std::vector<std::string> names = {"fp32",  "lossless_16bit", "residual_8bit",
                                                 "kahan", "stochastic",     "none"};
  return names;
}

MasterWeights master_weights_from_name(const std::string& name) {
  const auto& names = master_weights_names();
  const auto found = std::ranges::find(names, name);
  require_input(found != names.end(), "unknown master weights '{}'", name);
  return static_cast<MasterWeights>(found - names.begin());
}

std::optional<at::ScalarType> residual_type(MasterWeights format) {
  switch (format) {
    case MasterWeights::lossless_16bit:
      return at::kShort;
    case MasterWeights::residual_8bit:
      return at::kChar;
    case MasterWeights::kahan:
      return at::kBFloat16;
    case MasterWeights::fp32:
    case MasterWeights::stochastic:
    case MasterWeights::none:
      break;
  }
  return std::nullopt;
}

void join_master(MasterWeights format, const SplitMaster& split, const at::Tensor& master) {
  const auto* weight = bf16_data(split.weight);
  auto* x = master.data_ptr<float>();
  const auto n = master.numel();
  switch (format) {
    case MasterWeights::lossless_16bit:
      return join<std::int16_t>(split, master);
    case MasterWeights::residual_8bit:
      return join<std::int8_t>(split, master);
    case MasterWeights::kahan: {
      const auto* compensation = bf16_data(split.residual);
      return over(
          n, [=](std::int64_t i) { x[i] = from_bf16(weight[i]) + from_bf16(compensation[i]); });
    }
    case MasterWeights::fp32:
    case MasterWeights::stochastic:
    case MasterWeights::none:
      return over(n, [=](std::int64_t i) { x[i] = from_bf16(weight[i]); });
  }
}

void split_master(MasterWeights format, const at::Tensor& master, const SplitMaster& split,
                  std::uint64_t seed) {
  const auto* x = master.data_ptr<float>();
  auto* weight = bf16_data(split.weight);
  const auto n = master.numel();
  switch (format) {
    case MasterWeights::lossless_16bit:
      return split_in_two<std::int16_t>(master, split);
    case MasterWeights::residual_8bit:
      return split_in_two<std::int8_t>(master, split);
    case MasterWeights::kahan: {
      auto* compensation = bf16_data(split.residual);
      return over(n, [=](std::int64_t i) {
        weight[i] = nearest_bf16(x[i]);
        compensation[i] = std::isfinite(x[i]) ? compensation_of(x[i], weight[i]) : 0;
      });
    }
    case MasterWeights::stochastic:
      return over(n, [=](std::int64_t i) { weight[i] = random_bf16(x[i], random_bits(seed, i)); });
    case MasterWeights::fp32:
    case MasterWeights::none:
      return over(n, [=](std::int64_t i) { weight[i] = nearest_bf16(x[i]); });
  }
}

}  // namespace blockwise
