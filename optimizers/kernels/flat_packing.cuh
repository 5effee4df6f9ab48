// Packed buffers to float32 and back, window by window.
#pragma once

#include "core/kernels/device/number_kernels.cuh"
#include "optimizers/kernels/flat_moments.cuh"
#include "optimizers/kernels/flat_packing.hpp"

namespace blockwise::kernels {
namespace {

static_assert(kThreads == kCodeThreads);

// One block per run. x: where element 0 of the flat buffer would be.
template <class Format>
__global__ void __launch_bounds__(kThreads)
    unpack(const PackedRun* runs, NumberFormat format, float* x) {
  const PackedRun run = runs[blockIdx.x];
  const NumberRun numbers{run.first, run.count};
  float* own = x + run.begin;
  if (run.plain == nullptr) return decode_block<Format>(format, run.stored, numbers, own);
  for_own_numbers(numbers, [&](int at) { own[at] = run.plain[at]; });
}

// The same back; nothing is changed where the gradient is not finite.
template <class Format>
__global__ void __launch_bounds__(kThreads)
    pack(const PackedRun* runs, NumberFormat format, const float* x, const std::uint64_t* seeds,
         const Outcome* outcome) {
  if (!is_finite(*outcome)) return;
  const PackedRun run = runs[blockIdx.x];
  const NumberRun numbers{run.first, run.count};
  const float* own = x + run.begin;
  if (run.plain == nullptr) {
    const auto seed = seeds == nullptr ? 0 : seeds[run.seed];
    return encode_block<Format>(format, own, numbers, run.stored, seed, run.place);
  }
  for_own_numbers(numbers, [&](int at) { run.plain[at] = own[at]; });
}

}  // namespace
}  // namespace blockwise::kernels
