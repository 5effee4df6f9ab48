// Which thread steps which tensor: all of them once, evenly, and neighbours together.
#include "optimizers/tensor_threads.hpp"

#include <algorithm>
#include <numeric>

#include "optimizers/kernels/adam.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

std::int64_t elements(const std::vector<std::size_t>& tensors,
                      const std::vector<std::int64_t>& sizes) {
  std::int64_t sum = 0;
  for (const auto i : tensors) sum += sizes[i];
  return sum;
}

std::vector<bool> all_apart(const std::vector<std::int64_t>& sizes) {
  return std::vector<bool>(sizes.size(), true);
}

// Of a GPT: an embedding, and layers of four matrices and two vectors.
std::vector<std::int64_t> sizes_of_gpt(std::int64_t layers) {
  std::vector<std::int64_t> sizes = {50304 * 768};
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    for (const std::int64_t size : {768, 3 * 768 * 768, 768 * 768, 768, 3072 * 768, 3072 * 768}) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

}  // namespace

TEST_CASE("Every tensor is stepped once, by one thread or by all") {
  const auto sizes = sizes_of_gpt(12);
  auto apart = all_apart(sizes);
  apart[3] = false;
  for (const std::size_t threads : {1, 2, 3, 16, 64}) {
    INFO(threads);
    const TensorThreads assigned(sizes, apart, threads);
    REQUIRE(assigned.by_thread.size() == threads);
    auto seen = assigned.by_all;
    CHECK(std::ranges::count(seen, std::size_t{3}) == 1);
    for (const auto& own : assigned.by_thread) seen.insert(seen.end(), own.begin(), own.end());
    std::ranges::sort(seen);
    std::vector<std::size_t> expected(sizes.size());
    std::iota(expected.begin(), expected.end(), std::size_t{0});
    CHECK(seen == expected);
    const auto thread_of = assigned.thread_of();
    for (std::size_t t = 0; t < threads; ++t) {
      for (const auto i : assigned.by_thread[t]) CHECK(thread_of[i] == t);
    }
  }
}

// What one thread has more than another is at most one tensor, which is a quarter of a thread's.
TEST_CASE("Threads have about as many elements each") {
  const auto sizes = sizes_of_gpt(24);
  const auto all = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  for (const std::size_t threads : {2, 3, 8}) {
    INFO(threads);
    const TensorThreads assigned(sizes, all_apart(sizes), threads);
    CHECK(assigned.by_all == std::vector<std::size_t>{0});
    std::vector<std::int64_t> taken;
    for (const auto& own : assigned.by_thread) taken.push_back(elements(own, sizes));
    CHECK(std::ranges::max(taken) - std::ranges::min(taken) <= all / (4 * std::int64_t(threads)));
  }
}

TEST_CASE("Small tensors are halves of the memory, not every other one") {
  const std::vector<std::int64_t> sizes(1000, 256);
  const TensorThreads assigned(sizes, all_apart(sizes), 2);
  CHECK(assigned.by_all.empty());
  CHECK(assigned.by_thread[0].size() == 500);
  CHECK(std::ranges::is_sorted(assigned.by_thread[0]));
  CHECK(assigned.by_thread[0].back() + 1 == assigned.by_thread[1].front());
}

TEST_CASE(
    "A tensor that is most of the model is shared, and one that is too small for threads is not") {
  const TensorThreads large({10'000'000, 100'000}, {true, true}, 2);
  CHECK(large.by_all == std::vector<std::size_t>{0});
  const TensorThreads small({kernels::kSerialElements}, {true}, 2);
  CHECK(small.by_all.empty());
}
