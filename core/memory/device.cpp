#include "core/memory/device.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/base/cpu_quota.hpp"
#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr long long kMostThreads = 4096;  // as options have it

}  // namespace

at::Device resolve_device(std::string_view name) {
  const bool has_cuda = at::globalContext().hasCUDA();
  if (name == "cpu" || (name == "auto" && !has_cuda)) return at::Device(at::kCPU);
  require_input(has_cuda, "device: cuda was asked for, but LibTorch finds no CUDA device here");
  return c10::impl::VirtualGuardImpl(at::kCUDA).getDevice();
}

void take_cuda_device(std::int64_t local) {
  const c10::impl::VirtualGuardImpl cuda(at::kCUDA);
  const std::int64_t devices = cuda.deviceCount();
  require_input(devices == 1 || local < devices,
                "process {} of this machine has no CUDA device: it sees {}, so start at most {} "
                "processes on a machine, or set trainer.device to cpu",
                local + 1, devices, devices);
  cuda.setDevice(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(devices == 1 ? 0 : local)));
}

int available_threads() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const int cores = sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;
  const auto quota = cpu_quota();
  return quota ? std::min(cores, std::max(1, static_cast<int>(std::ceil(*quota)))) : cores;
}

int thread_count(std::int64_t threads) {
  if (threads > 0) return static_cast<int>(threads);
  // A list has one number per level of nested regions.
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  const long long number = wanted == nullptr ? 0 : std::atoll(wanted);
  return number > 0 && number <= kMostThreads ? static_cast<int>(number) : available_threads();
}

int set_threads(std::int64_t threads) {
  const int count = thread_count(threads);
  at::set_num_threads(count);
  return count;
}

void* current_stream(const at::Device& device) {
  if (device.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

std::string device_description(const at::Device& device) {
  if (device.is_cpu()) return fmt::format("cpu ({})", at::get_cpu_capability());
  return device.str();
}

}  // namespace blockwise
