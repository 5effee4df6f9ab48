// Where a run computes, and how many threads it may use.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace blockwise {

// "cpu", "cuda" or "auto" (CUDA where there is one). Throws InputError for "cuda" without a device.
at::Device resolve_device(std::string_view name);

// CPU cores that this process may run on (its affinity mask).
int available_threads();

// Sets LibTorch's intra-op threads, and with them those of the kernels (same OpenMP runtime).
// 0 means all cores that this process may run on. Returns the number set. Call once, early.
int set_threads(std::int64_t threads);

// For the run file, for example "cpu (AVX512), 2 threads".
std::string device_description(const at::Device& device);

}  // namespace blockwise
