// Sums over the threads of a block, in an order that does not depend on the device. Each source
// that includes this has kernels of its own.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "optimizers/kernels/flat_plan.hpp"

namespace blockwise::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;

// Every lane gets the sum.
__device__ double warp_sum(double x) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, distance);
  }
  return x;
}

// Thread 0 gets the sum. A block calls this once.
__device__ double block_sum(double x) {
  __shared__ double warps[kWarps];
  const double sum = warp_sum(x);
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  double total = 0.0;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kWarps; ++i) total += warps[i];
  }
  return total;
}

// n consecutive floats from number `begin` of a buffer, as aligned groups of four between two
// edges.
struct Quads {
  int head, count;

  __device__ Quads(std::int64_t begin, int n) {
    head = static_cast<int>(-begin & 3);
    head = head < n ? head : n;
    count = (n - head) / 4;
  }
  __device__ int first(int quad) const { return head + 4 * quad; }
  // The element at an edge that a lane has, or -1; at most six.
  __device__ int edge(int lane, int n) const {
    if (lane < head) return lane;
    const int at = lane - head + first(count);
    return at < n ? at : -1;
  }
};

// The threads that share a segment: a warp, or the block where it is longer.
struct Team {
  int lane, size, number, count;

  __device__ explicit Team(int length) {
    size = length > kWarpSegment ? kThreads : kWarp;
    lane = static_cast<int>(threadIdx.x) % size;
    number = static_cast<int>(threadIdx.x) / size;
    count = kThreads / size;
  }
};

__device__ float4 load4(const float* x) { return *reinterpret_cast<const float4*>(x); }
__device__ void store4(float* x, float4 value) { *reinterpret_cast<float4*>(x) = value; }

}  // namespace
}  // namespace blockwise::kernels
