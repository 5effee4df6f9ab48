#include "core/memory/large_block_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace blockwise {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t whole(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Maps more by one alignment and cuts off what lies before and behind the aligned block.
std::byte* map_aligned(std::size_t bytes) {
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
  const auto size = whole(bytes, kPage);
  const std::scoped_lock lock(mutex_);
  void* found = take_kept(size);
  return found != nullptr ? found : take_new(size);
}

bool LargeBlockCache::release(void* pointer) {
  const std::scoped_lock lock(mutex_);
  const auto found = used_.find(pointer);
  if (found == used_.end()) return false;
  const auto block = found->second;
  used_.erase(found);
  used_bytes_ -= block.bytes;
  keep(joined_with_neighbours(block), kept_.end());
  return true;
}

void* LargeBlockCache::take_kept(std::size_t bytes) {
  const auto found = by_size_.lower_bound(bytes);
  if (found == by_size_.end()) return nullptr;
  const auto after = std::next(found->second);
  auto block = take_out(found->second);
  const auto part = whole(bytes, kAlignment);
  if (block.bytes > bytes + bytes / 8 && block.bytes > part) {
    keep({block.start + part, block.bytes - part, block.mapping}, after);
    block.bytes = part;
  }
  count_in_use(block);
  return block.start;
}

void* LargeBlockCache::take_new(std::size_t bytes) {
  const auto in_use = used_bytes_ + bytes;
  shrink_kept(peak_bytes_ > in_use ? peak_bytes_ - in_use : 0);
  Block block{map_aligned(bytes), bytes, ++mappings_};
  if (block.start == nullptr) {
    shrink_kept(0);
    block.start = map_aligned(bytes);
  }
  if (block.start != nullptr) count_in_use(block);
  return block.start;
}

void LargeBlockCache::count_in_use(const Block& block) {
  used_.emplace(block.start, block);
  used_bytes_ += block.bytes;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
}

void LargeBlockCache::keep(const Block& block, Kept::const_iterator before) {
  const auto kept = kept_.insert(before, block);
  by_address_.emplace(block.start, kept);
  by_size_.emplace(block.bytes, kept);
  kept_bytes_ += block.bytes;
}

LargeBlockCache::Block LargeBlockCache::take_out(Kept::iterator kept) {
  const auto block = *kept;
  const auto [first, last] = by_size_.equal_range(block.bytes);
  by_size_.erase(std::find_if(first, last, [&](const auto& e) { return e.second == kept; }));
  by_address_.erase(block.start);
  kept_.erase(kept);
  kept_bytes_ -= block.bytes;
  return block;
}

LargeBlockCache::Block LargeBlockCache::joined_with_neighbours(Block block) {
  const auto next = by_address_.find(block.start + block.bytes);
  if (next != by_address_.end() && next->second->mapping == block.mapping) {
    block.bytes += take_out(next->second).bytes;
  }
  const auto after = by_address_.lower_bound(block.start);
  if (after == by_address_.begin()) return block;
  const auto before = std::prev(after)->second;
  if (before->start + before->bytes == block.start && before->mapping == block.mapping) {
    block.start = before->start;
    block.bytes += take_out(before).bytes;
  }
  return block;
}

void LargeBlockCache::shrink_kept(std::size_t bound) {
  while (kept_bytes_ > bound) {
    const auto excess = kept_bytes_ - bound;
    auto block = take_out(kept_.begin());
    const auto left = block.bytes > excess ? block.bytes - excess : 0;
    ::munmap(block.start + left, block.bytes - left);
    if (left > 0) keep({block.start, left, block.mapping}, kept_.begin());
  }
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
