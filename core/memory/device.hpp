// Where a run computes, and how many threads it may use.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace blockwise {

// "cpu", "cuda" (the current device) or "auto" (CUDA where there is one). Throws InputError for
// "cuda" without a device.
at::Device resolve_device(std::string_view name);

// Makes a CUDA device the current one, for the calling thread: of the processes of a machine number
// `local` takes device `local`, or the only one that it sees. Throws InputError where it sees
// several, and fewer than that.
void take_cuda_device(std::int64_t local);

// CPU cores that this process may use: those of its affinity mask, or what its control group's
// quota of time amounts to, rounded up, where that is less.
int available_threads();

// The number that set_threads() sets. 0 means OMP_NUM_THREADS where that is set, otherwise
// available_threads().
int thread_count(std::int64_t threads);

// Sets LibTorch's intra-op threads, and with them those of the kernels (same OpenMP runtime).
// Returns the number set. Call once, early.
int set_threads(std::int64_t threads);

// LibTorch's stream of a device, for kernels of our own: a cudaStream_t; null on the CPU.
void* current_stream(const at::Device& device);

// For the run file, for example "cpu (AVX512), 2 threads".
std::string device_description(const at::Device& device);

}  // namespace blockwise
