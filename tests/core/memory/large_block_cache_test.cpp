#include "core/memory/large_block_cache.hpp"

#include <cstdint>
#include <cstring>
#include <random>
#include <set>
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

TEST_CASE("A block that is an eighth too large is not taken, and makes way for a new one") {
  LargeBlockCache cache;
  void* large = cache.allocate(16 * kMiB);
  cache.release(large);
  void* small = cache.allocate(8 * kMiB);
  CHECK(cache.in_use() == 8 * kMiB);
  CHECK(cache.kept() == 0);  // 16 kept beside 8 in use would be above the peak of 16
  cache.release(small);
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
  std::vector<void*> live;
  std::set<void*> distinct;
  for (int i = 0; i < 2000; ++i) {
    const bool free_one = !live.empty() && (live.size() > 12 || random() % 2 == 0);
    if (free_one) {
      const auto at = random() % live.size();
      REQUIRE(cache.release(live[at]));
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      live.push_back(cache.allocate((4 + random() % 29) * kMiB));
    }
    REQUIRE(cache.in_use() + cache.kept() <= cache.peak_in_use());
    distinct = {live.begin(), live.end()};
    REQUIRE(distinct.size() == live.size());
  }
  for (auto* block : live) cache.release(block);
  CHECK(cache.in_use() == 0);
}

}  // namespace
}  // namespace blockwise
