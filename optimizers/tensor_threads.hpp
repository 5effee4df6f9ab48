// Which thread steps which tensor. To start and join threads that sleep costs as much as some
// 50,000 elements, so it is to happen once for all tensors but the largest, which would keep other
// threads waiting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace blockwise {

struct TensorThreads {
  // Numbers of the tensors that each thread steps by itself; and of those that all share, one after
  // the other, in their order.
  std::vector<std::vector<std::size_t>> by_thread;
  std::vector<std::size_t> by_all;

  // sizes: by tensor. Shared are tensors that are not `apart` (whose step touches more than their
  // own memory), and those of more than a quarter of a thread's part of all elements. Of the others
  // the longest goes to the thread that has least (Graham 1969); small ones fill up one thread
  // after the other, so that neighbours in memory stay together. A function of its arguments alone.
  TensorThreads(const std::vector<std::int64_t>& sizes, const std::vector<bool>& apart,
                std::size_t threads);

  // By tensor: its thread, 0 for what all share.
  std::vector<std::size_t> thread_of() const;
};

}  // namespace blockwise
