// Exact CPU tensor memory of the calling thread's work, and what the system says.
#pragma once

#include <cstdint>
#include <memory>

namespace blockwise {

// While alive, counts the bytes that LibTorch's CPU allocator holds for tensors made under it;
// blocks that are freed here but were made before count negatively, so construct it before the
// model. Shares its slot with LibTorch's profiler: not both at once. On CUDA the caching
// allocator's own peak is read.
class MemoryMeter {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  std::int64_t allocated() const;       // bytes now
  std::int64_t peak_allocated() const;  // highest so far

 private:
  struct Counter;
  std::shared_ptr<Counter> counter_;
  struct Guard;
  std::unique_ptr<Guard> guard_;
};

// Highest resident set of the process so far, bytes.
std::int64_t peak_resident_bytes();

}  // namespace blockwise
