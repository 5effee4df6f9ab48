// In the place of CUDA's header of this name: what the kernels use of it, on the CPU. Memory of the
// device is that of the host, all ones at first, so that what nobody wrote is a NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>

#include "tests/optimizers/kernels/fibers/thread_block.hpp"

#define __global__
#define __device__
#define __shared__ static __attribute__((section("cuda_shared")))
#define __launch_bounds__(...)

#define __syncthreads() blockwise::testing::fibers::wait_for_block(__LINE__)
#define __shfl_xor_sync(mask, value, distance) \
  blockwise_exchange(mask, value, distance, __LINE__)

inline const auto& threadIdx = blockwise::testing::fibers::thread_index();
inline const auto& blockIdx = blockwise::testing::fibers::block_index();
inline const auto& gridDim = blockwise::testing::fibers::grid_size();

struct __attribute__((may_alias, aligned(16))) float4 {
  float x, y, z, w;
};

struct __attribute__((may_alias, aligned(8))) ushort4 {
  unsigned short x, y, z, w;
};

template <typename T>
T blockwise_exchange(unsigned, T value, int distance, int line) {
  blockwise::testing::fibers::exchange(&value, sizeof(T), distance, line);
  return value;
}

inline void __threadfence() {}

template <typename T>
T __ldcg(const T* x) {
  return *x;
}

inline unsigned atomicAdd(unsigned* address, unsigned value) {
  const unsigned old = *address;
  *address += value;
  return old;
}

enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
using cudaStream_t = void*;

struct dim3 {
  dim3(unsigned x_ = 1) : x(x_) {}
  unsigned x, y = 1, z = 1;
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline const char* cudaGetErrorString(cudaError_t) { return "out of memory"; }

inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

inline cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

// With CUDA's own signature.
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  blockwise::testing::fibers::run_grid(config->gridDim.x, config->blockDim.x,
                                       [&] { std::apply(kernel, values); });
  return cudaSuccess;
}
