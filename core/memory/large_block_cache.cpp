#include "core/memory/large_block_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

namespace blockwise {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Maps more by one alignment and cuts off what lies before and behind the aligned block.
void* map_aligned(std::size_t bytes) {
  constexpr auto kAlign = LargeBlockCache::kAlignment;
  const auto total = bytes + kAlign;
  void* mapped = ::mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* first = static_cast<std::byte*>(mapped);
  const auto address = reinterpret_cast<std::uintptr_t>(mapped);
  const auto before = (kAlign - address % kAlign) % kAlign;
  if (before > 0) ::munmap(first, before);
  auto* block = first + before;
  if (before < kAlign) ::munmap(block + bytes, kAlign - before);
  ::madvise(block, bytes, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
  return block;
}

}  // namespace

LargeBlockCache::~LargeBlockCache() { shrink_kept(0); }

void* LargeBlockCache::allocate(std::size_t bytes) {
  const auto size = whole_pages(bytes);
  const std::scoped_lock lock(mutex_);
  void* found = take_kept(size);
  return found != nullptr ? found : take_new(size);
}

bool LargeBlockCache::release(void* pointer) {
  const std::scoped_lock lock(mutex_);
  const auto found = used_.find(pointer);
  if (found == used_.end()) return false;
  const Block block{pointer, found->second};
  used_.erase(found);
  used_bytes_ -= block.bytes;
  kept_bytes_ += block.bytes;
  by_size_.emplace(block.bytes, kept_.insert(kept_.end(), block));
  return true;
}

void* LargeBlockCache::take_kept(std::size_t bytes) {
  const auto found = by_size_.lower_bound(bytes);
  if (found == by_size_.end() || found->first > bytes + bytes / 8) return nullptr;
  const auto block = *found->second;
  kept_.erase(found->second);
  by_size_.erase(found);
  kept_bytes_ -= block.bytes;
  count_in_use(block);
  return block.start;
}

void* LargeBlockCache::take_new(std::size_t bytes) {
  const auto in_use = used_bytes_ + bytes;
  shrink_kept(peak_bytes_ > in_use ? peak_bytes_ - in_use : 0);
  Block block{map_aligned(bytes), bytes};
  if (block.start == nullptr) {
    shrink_kept(0);
    block.start = map_aligned(bytes);
  }
  if (block.start != nullptr) count_in_use(block);
  return block.start;
}

void LargeBlockCache::count_in_use(const Block& block) {
  used_.emplace(block.start, block.bytes);
  used_bytes_ += block.bytes;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
}

void LargeBlockCache::shrink_kept(std::size_t bound) {
  while (kept_bytes_ > bound) give_back(kept_.begin());
}

void LargeBlockCache::give_back(Kept::iterator block) {
  const auto [first, last] = by_size_.equal_range(block->bytes);
  by_size_.erase(std::find_if(first, last, [&](const auto& e) { return e.second == block; }));
  kept_bytes_ -= block->bytes;
  ::munmap(block->start, block->bytes);
  kept_.erase(block);
}

std::size_t LargeBlockCache::in_use() const {
  const std::scoped_lock lock(mutex_);
  return used_bytes_;
}

std::size_t LargeBlockCache::kept() const {
  const std::scoped_lock lock(mutex_);
  return kept_bytes_;
}

std::size_t LargeBlockCache::peak_in_use() const {
  const std::scoped_lock lock(mutex_);
  return peak_bytes_;
}

}  // namespace blockwise
