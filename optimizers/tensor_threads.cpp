#include "optimizers/tensor_threads.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "optimizers/kernels/adam.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kTurnsOfThread = 4;

using Numbers = std::vector<std::size_t>;

// What each thread has so far.
class Threads {
 public:
  Threads(const std::vector<std::int64_t>& sizes, std::vector<Numbers>& by_thread)
      : sizes_(sizes), by_thread_(by_thread), taken_(by_thread.size(), 0) {}

  void give_longest_first(Numbers tensors) {
    std::ranges::stable_sort(tensors, std::greater(), [this](auto i) { return sizes_[i]; });
    for (const auto i : tensors) {
      give(i, std::size_t(std::ranges::min_element(taken_) - taken_.begin()));
    }
  }

  // `total`: of all tensors that are given.
  void fill_up(const Numbers& tensors, std::int64_t total) {
    std::size_t thread = 0;
    for (const auto i : tensors) {
      while (thread + 1 < taken_.size() && taken_[thread] * std::ssize(taken_) >= total) ++thread;
      give(i, thread);
    }
  }

 private:
  void give(std::size_t i, std::size_t thread) {
    taken_[thread] += sizes_[i];
    by_thread_[thread].push_back(i);
  }

  const std::vector<std::int64_t>& sizes_;
  std::vector<Numbers>& by_thread_;
  std::vector<std::int64_t> taken_;
};

}  // namespace

TensorThreads::TensorThreads(const std::vector<std::int64_t>& sizes, const std::vector<bool>& apart,
                             std::size_t threads)
    : by_thread(threads) {
  const auto all = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  const auto largest =
      std::max(kernels::kSerialElements, all / (kTurnsOfThread * std::int64_t(threads)));
  Numbers large, small;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const bool is_shared = !apart[i] || sizes[i] > largest;
    total += is_shared ? 0 : sizes[i];
    (is_shared ? by_all : sizes[i] > kernels::kSerialElements ? large : small).push_back(i);
  }
  Threads given(sizes, by_thread);
  given.give_longest_first(std::move(large));
  given.fill_up(small, total);
}

std::vector<std::size_t> TensorThreads::thread_of() const {
  auto count = by_all.size();
  for (const auto& tensors : by_thread) count += tensors.size();
  std::vector<std::size_t> threads(count, 0);
  for (std::size_t thread = 0; thread < by_thread.size(); ++thread) {
    for (const auto i : by_thread[thread]) threads[i] = thread;
  }
  return threads;
}

}  // namespace blockwise
