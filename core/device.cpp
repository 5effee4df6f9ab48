#include "core/device.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <sched.h>

#include "core/error.hpp"

namespace blockwise {

at::Device resolve_device(std::string_view name) {
  const bool has_cuda = at::globalContext().hasCUDA();
  if (name == "cpu" || (name == "auto" && !has_cuda)) return at::Device(at::kCPU);
  require_input(has_cuda, "device: cuda was asked for, but LibTorch finds no CUDA device here");
  return at::Device(at::kCUDA, 0);
}

int available_threads() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  return sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;
}

int set_threads(std::int64_t threads) {
  const int count = threads == 0 ? available_threads() : static_cast<int>(threads);
  at::set_num_threads(count);
  return count;
}

std::string device_description(const at::Device& device) {
  if (device.is_cpu()) return fmt::format("cpu ({})", at::get_cpu_capability());
  return device.str();
}

}  // namespace blockwise
