// Exact tensor memory of the calling thread's work, and what the system says.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

namespace blockwise {

// While alive, follows the bytes that LibTorch's allocators hold for tensors: on the CPU by the
// reports of its allocator (blocks that are freed here but were made before count negatively, so
// construct it before the model; it shares its slot with LibTorch's profiler, not both at once), on
// another device by the caching allocator's own statistics, whose peak is reset here.
class MemoryMeter {
 public:
  explicit MemoryMeter(const c10::Device& device);
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  std::int64_t peak_allocated() const;  // bytes on the device, highest so far

 private:
  c10::Device device_;
  struct Counter;
  std::shared_ptr<Counter> counter_;
  struct Guard;
  std::unique_ptr<Guard> guard_;
};

// Highest resident set of the process so far, bytes.
std::int64_t peak_resident_bytes();

// What this machine, or the control groups of this process, can give without swapping, bytes; 0
// where neither says.
std::int64_t available_bytes(const c10::Device& device);

// Throws InputError "WHAT: this takes 31.00 GiB, 7.50 GiB are available. Smaller: WAYS" where it is
// more than that: before it is allocated, since the system may end a process that fills its memory.
void require_available(std::int64_t bytes, const c10::Device& device, const std::string& what,
                       const std::string& ways = "");

}  // namespace blockwise
