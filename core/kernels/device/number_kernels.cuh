// Every format of number_formats.hpp as a type, for kernels that know it when they are compiled:
// by codes (coded_numbers.cuh), or by halves, which are numbers by themselves (master_formats.hpp).
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/kernels/device/coded_numbers.cuh"
#include "core/kernels/master_formats.hpp"

namespace blockwise {
namespace {

// Sixteen random bits for each number; a random number has four times as many.
struct RandomBf16 {
  using Residual = NoResidual;
  static constexpr float join(std::uint16_t weight, Residual) { return from_bf16(weight); }
  static constexpr MasterHalves<Residual> split(float x, std::int64_t number, std::uint64_t seed) {
    const auto random = mix64(seed ^ mix64(static_cast<std::uint64_t>(number / 4)));
    return {random_bf16(x, static_cast<std::uint16_t>(random >> (16 * (number % 4)))), {}};
  }
};

template <class Format>
constexpr bool kHasCodes = requires {
  Format::kBlock;
};

template <class Format>
constexpr bool kHasResidual = !std::is_same_v<typename Format::Residual, NoResidual>;

// Calls body(at) for the numbers of a run that the thread has.
template <typename Body>
__device__ void for_own_numbers(const NumberRun& run, const Body& body) {
  for (int at = static_cast<int>(threadIdx.x); at < run.count; at += kCodeThreads) body(at);
}

template <class Format>
__device__ void join_run(const StoredNumbers& stored, const NumberRun& run, float* x) {
  const auto* weights = static_cast<const std::uint16_t*>(stored.numbers) + run.first;
  for_own_numbers(run, [&](int at) {
    if constexpr (kHasResidual<Format>) {
      const auto* residuals = static_cast<const typename Format::Residual*>(stored.beside);
      x[at] = Format::join(weights[at], residuals[run.first + at]);
    } else {
      x[at] = Format::join(weights[at], {});
    }
  });
}

// place: of the run's first number in the stream of random ones.
template <class Format>
__device__ void split_run(const float* x, const NumberRun& run, const StoredNumbers& stored,
                          std::uint64_t seed, std::int64_t place) {
  auto* weights = static_cast<std::uint16_t*>(stored.numbers) + run.first;
  for_own_numbers(run, [&](int at) {
    const auto halves = Format::split(x[at], place + at, seed);
    weights[at] = halves.weight;
    if constexpr (kHasResidual<Format>) {
      static_cast<typename Format::Residual*>(stored.beside)[run.first + at] = halves.residual;
    }
  });
}

// A copy in the memory that the threads of a block share.
__device__ const float* shared_table(const std::array<float, 256>& numbers) {
  __shared__ float table[256];
  table[threadIdx.x] = numbers[threadIdx.x];
  __syncthreads();
  return table;
}

// A block of 256 threads writes the float32 numbers of a run. A block calls one of the two, once.
template <class Format>
__device__ void decode_block(const NumberFormat& format, const StoredNumbers& stored,
                             const NumberRun& run, float* x) {
  if constexpr (kHasCodes<Format>) {
    decode_run<Format>({shared_table(format.values), nullptr, false}, stored, run, x);
  } else {
    join_run<Format>(stored, run, x);
  }
}

template <class Format>
__device__ void encode_block(const NumberFormat& format, const float* x, const NumberRun& run,
                             const StoredNumbers& stored, std::uint64_t seed, std::int64_t place) {
  if constexpr (kHasCodes<Format>) {
    const CodeTables tables{nullptr, shared_table(format.thresholds), format.keeps_positive};
    encode_run<Format>(tables, x, run, stored);
  } else {
    split_run<Format>(x, run, stored, seed, place);
  }
}

// Calls run(Format{}) with the format's type.
template <typename Run>
void with_format(NumberFormat::Kind kind, const Run& run) {
  using Kind = NumberFormat::Kind;
  switch (kind) {
    case Kind::table_8bit:
      return run(TableFormat<1, 256>{});
    case Kind::table_4bit:
      return run(TableFormat<2, 128>{});
    case Kind::fp8:
      return run(Fp8Format{});
    case Kind::softsign:
      return run(SoftsignFormat{});
    case Kind::root:
      return run(RootFormat{});
    case Kind::bf16:
      return run(RandomBf16{});
    case Kind::lossless_master:
      return run(LosslessMaster{});
    case Kind::eight_bit_master:
      return run(EightBitMaster{});
    case Kind::kahan_master:
      return run(KahanMaster{});
    case Kind::stochastic_master:
      return run(StochasticMaster{});
    case Kind::nearest_master:
      return run(NearestMaster{});
  }
}

}  // namespace
}  // namespace blockwise
