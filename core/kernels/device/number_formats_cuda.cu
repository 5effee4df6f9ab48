// This source is compiled twice: by nvcc, and by the C++ compiler for threads that are fibers on
// the CPU (tests/optimizers/kernels/fibers).
#include <stdexcept>
#include <string>

#include "core/kernels/device/number_kernels.cuh"

namespace blockwise {
namespace {

constexpr int kRunNumbers = 8192;  // of a block of threads

__device__ NumberRun own_run(std::int64_t n) {
  const auto first = static_cast<std::int64_t>(blockIdx.x) * kRunNumbers;
  return {first, static_cast<int>(n - first < kRunNumbers ? n - first : kRunNumbers)};
}

// One block per run.
template <class Format>
__global__ void __launch_bounds__(kCodeThreads)
    decode_numbers(NumberFormat format, StoredNumbers stored, std::int64_t n, float* x) {
  const auto run = own_run(n);
  decode_block<Format>(format, stored, run, x + run.first);
}

template <class Format>
__global__ void __launch_bounds__(kCodeThreads)
    encode_numbers(NumberFormat format, const float* x, std::int64_t n, StoredNumbers stored,
                   std::uint64_t seed) {
  const auto run = own_run(n);
  encode_block<Format>(format, x + run.first, run, stored, seed, run.first);
}

template <typename... Parameters, typename... Arguments>
void launch(std::int64_t n, void* stream, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned((n + kRunNumbers - 1) / kRunNumbers));
  config.blockDim = dim3(kCodeThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  const auto error = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA: launch: ") + cudaGetErrorString(error));
}

class CudaNumberConverter : public NumberConverter {
 public:
  void decode(const NumberFormat& format, const StoredNumbers& stored, std::int64_t n, float* x,
              void* stream) const override {
    if (n == 0) return;
    with_format(format.kind, [&](auto type) {
      launch(n, stream, decode_numbers<decltype(type)>, format, stored, n, x);
    });
  }
  void encode(const NumberFormat& format, const float* x, std::int64_t n,
              const StoredNumbers& stored, std::uint64_t seed, void* stream) const override {
    if (n == 0) return;
    with_format(format.kind, [&](auto type) {
      launch(n, stream, encode_numbers<decltype(type)>, format, x, n, stored, seed);
    });
  }
};

}  // namespace

const NumberConverter& cuda_number_converter() {
  static const CudaNumberConverter converter;
  return converter;
}

bool has_cuda_number_converter() { return true; }

}  // namespace blockwise
