// Memory of a computation that is not done: on LibTorch's meta device tensors have shapes and
// lifetimes but no data. While a MetaMemory is alive it counts what they would hold, and what the
// thread allocates on the CPU, so that running the real program there, autograd included, tells its
// peak in advance for any size. (It shares its slot with LibTorch's profiler and MemoryMeter.)
//
// Beyond LibTorch's own meta kernels this file supplies those that a transformer's training step
// needs and that LibTorch has only in Python: relu, LayerNorm's, the embedding's gradient and the
// CPU's fused attention (for what models/blocked_attention.hpp does not take), with the scratch
// that the CPU kernels take; and absolute values, which log-sum-exp asks for. The scratch of matrix
// products in bfloat16 is measured (core/memory/product_scratch.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace c10 {
struct Allocator;
}

namespace blockwise {

class MetaMemory {
 public:
  MetaMemory();
  ~MetaMemory();
  MetaMemory(const MetaMemory&) = delete;
  MetaMemory& operator=(const MetaMemory&) = delete;

  std::int64_t allocated() const;  // bytes
  std::int64_t peak() const;       // highest since the start or the last reset
  void reset_peak();
  // From here on tensors of at least so many bytes are in files (tensors_in_file.hpp): they are not
  // counted above but here. Not reset.
  void put_in_files(std::int64_t from_bytes);
  std::int64_t allocated_in_files() const;
  std::int64_t peak_in_files() const;

 private:
  struct Counter;
  struct Guard;
  class CountingAllocator;
  std::shared_ptr<Counter> counter_;
  std::unique_ptr<CountingAllocator> allocator_;
  std::unique_ptr<Guard> guard_;
  c10::Allocator* before_;
};

// Runs what is rehearsed on the meta device. Where it needs an operator that has no kernel there,
// or a value, returns a sentence that says so: what follows from the rehearsal is not known, and
// whoever asked goes on without. Empty where it went through; other errors pass.
std::string rehearse(const std::function<void()>& rehearsal);

}  // namespace blockwise
