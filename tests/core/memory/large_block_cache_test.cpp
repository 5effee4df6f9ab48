#include "core/memory/large_block_cache.hpp"

#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST_CASE("A freed block serves the next request of its size") {
  LargeBlockCache cache;
  void* first = cache.allocate(8 * kMiB);
  REQUIRE(first != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(first) % LargeBlockCache::kAlignment == 0);
  std::memset(first, 1, 8 * kMiB);
  REQUIRE(cache.release(first));
  CHECK(cache.kept() == 8 * kMiB);
  CHECK(cache.allocate(8 * kMiB - 5) == first);
  CHECK(cache.kept() == 0);
  CHECK(cache.release(first));
}

TEST_CASE("Parts of a larger block serve smaller requests and are one block again") {
  LargeBlockCache cache;
  auto* large = static_cast<std::byte*>(cache.allocate(32 * kMiB));
  cache.release(large);
  void* first = cache.allocate(9 * kMiB);  // takes 10
  void* second = cache.allocate(8 * kMiB);
  void* third = cache.allocate(14 * kMiB);
  CHECK(first == large);
  CHECK(second == large + 10 * kMiB);
  CHECK(third == large + 18 * kMiB);
  CHECK(cache.kept() == 0);
  CHECK(cache.peak_in_use() == 32 * kMiB);
  cache.release(third);
  cache.release(first);
  CHECK(cache.allocate(16 * kMiB) != large);  // the second lies between
  cache.release(second);
  CHECK(cache.in_use() == 16 * kMiB);
  CHECK(cache.kept() == 16 * kMiB);
}

TEST_CASE("A block and the smaller ones that follow it map nothing after their first round") {
  LargeBlockCache cache;
  std::set<void*> seen;
  std::size_t after_first = 0;
  for (int step = 0; step < 5; ++step) {
    void* activations = cache.allocate(20 * kMiB);
    void* logits = cache.allocate(64 * kMiB);
    seen.insert({activations, logits});
    cache.release(logits);
    std::vector<void*> gradients;
    for (const std::size_t size : {12, 24, 24}) gradients.push_back(cache.allocate(size * kMiB));
    seen.insert(gradients.begin(), gradients.end());
    cache.release(activations);
    for (auto* gradient : gradients) cache.release(gradient);
    if (step == 0) after_first = seen.size();
  }
  CHECK(seen.size() == after_first);
  CHECK(cache.peak_in_use() == 84 * kMiB);
}

TEST_CASE("What is kept gives way to a larger block, no more of it than it must") {
  LargeBlockCache cache;
  void* small = cache.allocate(16 * kMiB);
  void* other = cache.allocate(16 * kMiB);
  cache.release(small);
  cache.release(other);
  void* large = cache.allocate(24 * kMiB);
  CHECK(cache.in_use() == 24 * kMiB);
  CHECK(cache.kept() == 8 * kMiB);
  CHECK(cache.release(large));
}

TEST_CASE("Only its own blocks are taken back") {
  LargeBlockCache cache;
  int other = 0;
  CHECK_FALSE(cache.release(&other));
  void* block = cache.allocate(4 * kMiB);
  CHECK(cache.release(block));
  CHECK_FALSE(cache.release(block));
}

TEST_CASE("A request that no machine can serve gives null and leaves the cache usable") {
  LargeBlockCache cache;
  CHECK(cache.allocate(std::size_t{1} << 60) == nullptr);
  void* block = cache.allocate(4 * kMiB);
  CHECK(block != nullptr);
  cache.release(block);
}

TEST_CASE("In use and kept together never exceed the peak in use") {
  LargeBlockCache cache;
  std::mt19937 random(1);
  std::vector<std::pair<void*, std::size_t>> live;
  // A block's first and last bytes say which it is, so that no two share a byte.
  const auto mark = [](const auto& block, int with) {
    std::memset(block.first, with, 64);
    std::memset(static_cast<std::byte*>(block.first) + block.second - 64, with, 64);
  };
  const auto is_marked = [](const auto& block) {
    const auto* bytes = static_cast<const unsigned char*>(block.first);
    return bytes[0] == bytes[63] && bytes[0] == bytes[block.second - 64] &&
           bytes[0] == bytes[block.second - 1];
  };
  for (int i = 0; i < 2000; ++i) {
    const bool free_one = !live.empty() && (live.size() > 12 || random() % 2 == 0);
    if (free_one) {
      const auto at = random() % live.size();
      REQUIRE(is_marked(live[at]));
      REQUIRE(cache.release(live[at].first));
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const std::size_t bytes = (4 + random() % 29) * kMiB - random() % kMiB;
      live.emplace_back(cache.allocate(bytes), bytes);
      mark(live.back(), i % 251);
    }
    REQUIRE(cache.in_use() + cache.kept() <= cache.peak_in_use());
  }
  for (const auto& block : live) REQUIRE(cache.release(block.first));
  CHECK(cache.in_use() == 0);
}

}  // namespace
}  // namespace blockwise
