// Large blocks of memory that are kept when they are freed, for a program that asks for the same
// sizes at every step.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <mutex>
#include <unordered_map>

namespace blockwise {

// The C library maps a block of 32 MiB or more anew each time and gives it back when it is freed,
// so a training step faults in its activations page by page, every time: nearly half of a bfloat16
// step. Keeping every freed block in the heap instead cures that and costs fragmentation
// (measured: 1.7 times the resident memory; tests/benchmarks/allocator_pairs.py compares the three
// side by side). This cache keeps blocks whole and never holds more
// than was in use at the highest moment so far:
//
//   in_use() + kept() <= peak_in_use()
//
// A request is served by the smallest kept block of at least its size: whole where that is at most
// 9/8 of it, by its first part otherwise, and parts of one mapping that are free side by side are
// one block again. So the resident memory is below 9/8 of the peak of what was asked for, and a
// step in which a large block and several small ones take turns maps nothing after the first. Where
// no kept block will do, a new one is mapped, after the blocks that were freed first have been
// given back, in part where that is enough, as far as the bound demands. New blocks start at a
// multiple of 2 MiB and ask for huge pages. All calls may come from any thread; each takes one
// lock.
class LargeBlockCache {
 public:
  static constexpr std::size_t kAlignment = std::size_t{2} << 20;

  LargeBlockCache() = default;
  ~LargeBlockCache();  // gives back what is kept; blocks in use must have been freed
  LargeBlockCache(const LargeBlockCache&) = delete;
  LargeBlockCache& operator=(const LargeBlockCache&) = delete;

  // At least `bytes` > 0, contents undefined; null where the system has no more, after everything
  // that is kept has been given back.
  void* allocate(std::size_t bytes);
  // Whether the pointer was a block of this cache, which is then kept for the next request.
  bool release(void* pointer);

  std::size_t in_use() const;       // bytes
  std::size_t kept() const;         // bytes, resident but free
  std::size_t peak_in_use() const;  // bytes

 private:
  struct Block {
    std::byte* start = nullptr;
    std::size_t bytes = 0;
    std::size_t mapping = 0;  // number of the mmap() that it is of
  };
  using Kept = std::list<Block>;  // in the order in which they were freed

  void* take_kept(std::size_t bytes);
  void* take_new(std::size_t bytes);
  void count_in_use(const Block& block);
  void keep(const Block& block, Kept::const_iterator before);
  Block take_out(Kept::iterator block);
  Block joined_with_neighbours(Block block);
  void shrink_kept(std::size_t bound);

  mutable std::mutex mutex_;
  Kept kept_;
  std::map<std::byte*, Kept::iterator> by_address_;
  std::multimap<std::size_t, Kept::iterator> by_size_;
  std::unordered_map<void*, Block> used_;
  std::size_t mappings_ = 0;
  std::size_t used_bytes_ = 0;
  std::size_t kept_bytes_ = 0;
  std::size_t peak_bytes_ = 0;
};

}  // namespace blockwise
