// The order of the training windows.
#include "core/data/sampler.hpp"

#include <set>

#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("permute is a bijection of every small range") {
  for (const std::uint64_t key : {0ULL, 1ULL, 0x123456789abcdefULL}) {
    for (std::uint64_t size = 1; size <= 300; ++size) {
      std::vector<bool> seen(size, false);
      for (std::uint64_t i = 0; i < size; ++i) seen.at(permute(key, i, size)) = true;
      INFO("key " << key << ", size " << size);
      CHECK(std::count(seen.begin(), seen.end(), true) == static_cast<std::ptrdiff_t>(size));
    }
  }
}

TEST_CASE("permute moves most elements, and differently for each key") {
  const std::uint64_t size = 1000;
  int fixed = 0, equal = 0;
  for (std::uint64_t i = 0; i < size; ++i) {
    fixed += permute(3, i, size) == i;
    equal += permute(3, i, size) == permute(4, i, size);
  }
  // Of a random permutation one element stays on average; 10 has probability 1e-7.
  CHECK(fixed < 10);
  CHECK(equal < 10);
}

TEST_CASE("Each epoch visits each window once, at one offset below the length") {
  for (const std::int64_t length : {1, 4, 7}) {
    const std::int64_t tokens = 100;
    const WindowSampler sampler(11, tokens, length);
    const auto windows = sampler.windows_per_epoch();
    CHECK(windows == (tokens - 1) / length - 1);
    std::set<std::int64_t> offsets;
    std::set<std::vector<std::int64_t>> orders;
    for (std::int64_t epoch = 0; epoch < 8; ++epoch) {
      std::vector<std::int64_t> order;
      for (std::int64_t i = 0; i < windows; ++i) {
        const auto position = sampler.position(epoch * windows + i);
        CHECK(position >= 0);
        CHECK(position + length + 1 <= tokens);  // the last target is inside
        order.push_back(position);
      }
      const std::set<std::int64_t> positions(order.begin(), order.end());
      CHECK(positions.size() == static_cast<std::size_t>(windows));
      CHECK(*positions.rbegin() - *positions.begin() == (windows - 1) * length);
      CHECK(*positions.begin() < length);
      offsets.insert(*positions.begin());
      orders.insert(order);
    }
    CHECK(orders.size() == 8);
    if (length == 7) CHECK(offsets.size() >= 3);  // 8 draws of 7: fewer once in 10^4 seeds
  }
}

TEST_CASE("A window's position is a function of seed and index") {
  const WindowSampler a(1, 5000, 16), b(1, 5000, 16), other(2, 5000, 16);
  int equal = 0;
  for (const std::int64_t i : {0, 311, 5, 100000, 310}) CHECK(a.position(i) == b.position(i));
  for (std::int64_t i = 0; i < 100; ++i) equal += a.position(i) == other.position(i);
  CHECK(equal < 10);
}

TEST_CASE("One window and its last target are enough, less is refused") {
  CHECK(WindowSampler(0, 9, 4).windows_per_epoch() == 1);
  for (const std::int64_t tokens : {5, 6, 8, 9, 12}) {
    INFO(tokens << " tokens");
    const WindowSampler sampler(0, tokens, 4);
    CHECK(sampler.windows_per_epoch() == 1);
    std::set<std::int64_t> positions;
    for (std::int64_t i = 0; i < 100; ++i) positions.insert(sampler.position(i));
    CHECK(*positions.begin() == 0);
    CHECK(*positions.rbegin() == std::min<std::int64_t>(3, tokens - 5));
  }
  CHECK_THAT(
      input_error([] { WindowSampler(0, 4, 4); }),
      Contains("4 tokens are too few for a sequence of 4 (data.sequence_length) and its last "
               "target: at least 5"));
}
