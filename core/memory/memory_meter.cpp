#include "core/memory/memory_meter.hpp"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "core/base/error.hpp"
#include "core/memory/group_memory.hpp"

namespace blockwise {

struct MemoryMeter::Counter : public c10::MemoryReportingInfoBase {
  std::atomic<std::int64_t> now{0};
  std::atomic<std::int64_t> peak{0};

  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device device) override {
    if (!device.is_cpu()) return;
    const auto total = now.fetch_add(bytes) + bytes;
    auto highest = peak.load();
    while (total > highest && !peak.compare_exchange_weak(highest, total)) {
    }
  }
  bool memoryProfilingEnabled() const override { return true; }
};

struct MemoryMeter::Guard {
  explicit Guard(std::shared_ptr<Counter> counter)
      : guard(c10::DebugInfoKind::PROFILER_STATE, std::move(counter)) {}
  c10::DebugInfoGuard guard;
};

MemoryMeter::MemoryMeter(const c10::Device& device)
    : device_(device),
      counter_(std::make_shared<Counter>()),
      guard_(std::make_unique<Guard>(counter_)) {
  if (device_.is_cpu()) return;
  // Before the first tensor there LibTorch's allocator knows no device.
  at::globalContext().lazyInitDevice(device_.type());
  at::accelerator::resetPeakStats(device_.index());
}

MemoryMeter::~MemoryMeter() = default;

std::int64_t MemoryMeter::peak_allocated() const {
  if (device_.is_cpu()) return counter_->peak.load();
  constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return at::accelerator::getDeviceStats(device_.index()).allocated_bytes[all].peak;
}

namespace {

// Of the whole machine; 0 where it does not say.
std::int64_t machine_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::int64_t kibibytes = 0;
  for (std::string unit; file >> key >> kibibytes; std::getline(file, unit)) {
    if (key == "MemAvailable:") return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

std::int64_t available_bytes(const c10::Device& device) {
  if (!device.is_cpu()) return 0;
  const auto machine = machine_memory();
  const auto group = group_memory();
  if (!group) return machine;
  return machine > 0 ? std::min(machine, *group) : *group;
}

void require_available(std::int64_t bytes, const c10::Device& device, const std::string& what,
                       const std::string& ways) {
  constexpr std::int64_t kAlwaysThere = std::int64_t{64} << 20;
  if (bytes <= kAlwaysThere) return;
  const auto available = available_bytes(device);
  const auto gib = [](std::int64_t b) { return double(b) / double(1 << 30); };
  require_input(available == 0 || bytes <= available,
                "{}: this takes {:.2f} GiB, {:.2f} GiB are available{}{}", what, gib(bytes),
                gib(available), ways.empty() ? "" : ". Smaller: ", ways);
}

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace blockwise
