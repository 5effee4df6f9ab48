#include "core/parameters/master_weights.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/kernels/device/number_formats.hpp"
#include "core/kernels/master_formats.hpp"
#include "core/kernels/master_halves.hpp"
#include "core/memory/device.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;  // elements per task

std::uint16_t* bf16_data(const at::Tensor& x) {
  return reinterpret_cast<std::uint16_t*>(x.data_ptr<at::BFloat16>());
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

// Weights alone.
template <class Format>
void round_to_weights(const at::Tensor& master, const SplitMaster& split, std::uint64_t seed) {
  const auto* x = master.data_ptr<float>();
  auto* weight = bf16_data(split.weight);
  over(master.numel(), [=](std::int64_t i) { weight[i] = Format::split(x[i], i, seed).weight; });
}

void split_with_compensation(const at::Tensor& master, const SplitMaster& split) {
  const auto* x = master.data_ptr<float>();
  auto* weight = bf16_data(split.weight);
  auto* compensation = bf16_data(split.residual);
  over(master.numel(), [=](std::int64_t i) {
    const auto halves = KahanMaster::split(x[i], i, 0);
    weight[i] = halves.weight;
    compensation[i] = halves.residual;
  });
}

void join_on_cpu(MasterWeights format, const SplitMaster& split, const at::Tensor& master) {
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
      return over(n, [=](std::int64_t i) { x[i] = KahanMaster::join(weight[i], compensation[i]); });
    }
    case MasterWeights::fp32:
    case MasterWeights::stochastic:
    case MasterWeights::none:
      return over(n, [=](std::int64_t i) { x[i] = from_bf16(weight[i]); });
  }
}

void split_on_cpu(MasterWeights format, const at::Tensor& master, const SplitMaster& split,
                  std::uint64_t seed) {
  switch (format) {
    case MasterWeights::lossless_16bit:
      return split_in_two<std::int16_t>(master, split);
    case MasterWeights::residual_8bit:
      return split_in_two<std::int8_t>(master, split);
    case MasterWeights::kahan:
      return split_with_compensation(master, split);
    case MasterWeights::stochastic:
      return round_to_weights<StochasticMaster>(master, split, seed);
    case MasterWeights::fp32:
    case MasterWeights::none:
      return round_to_weights<NearestMaster>(master, split, seed);
  }
}

StoredNumbers stored_on_device(const SplitMaster& split) {
  return {split.weight.data_ptr(), split.residual.defined() ? split.residual.data_ptr() : nullptr};
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

NumberFormat::Kind device_format(MasterWeights format) {
  using Kind = NumberFormat::Kind;
  switch (format) {
    case MasterWeights::lossless_16bit:
      return Kind::lossless_master;
    case MasterWeights::residual_8bit:
      return Kind::eight_bit_master;
    case MasterWeights::kahan:
      return Kind::kahan_master;
    case MasterWeights::stochastic:
      return Kind::stochastic_master;
    case MasterWeights::fp32:
    case MasterWeights::none:
      break;
  }
  return Kind::nearest_master;
}

void join_master(MasterWeights format, const SplitMaster& split, const at::Tensor& master) {
  if (master.is_cpu()) return join_on_cpu(format, split, master);
  cuda_number_converter().decode({device_format(format)}, stored_on_device(split), master.numel(),
                                 master.data_ptr<float>(), current_stream(master.device()));
}

void split_master(MasterWeights format, const at::Tensor& master, const SplitMaster& split,
                  std::uint64_t seed) {
  if (master.is_cpu()) return split_on_cpu(format, master, split, seed);
  cuda_number_converter().encode({device_format(format)}, master.data_ptr<float>(), master.numel(),
                                 stored_on_device(split), seed, current_stream(master.device()));
}

}  // namespace blockwise
