// Ranks: the processes that make one run together, through LibTorch's c10d. Every process calls the
// same functions in the same order. Tensors on the CPU travel by Gloo, those on a CUDA device by
// NCCL, every rank's on a device of its own.
//
// By NCCL waiting is the device's: wait() returns at once, and what is asked of the device next
// comes behind. A rank that has gone is found by Gloo alone, so meet() before a value is read that
// depends on the others: without, the host would wait for a transfer that never ends, until NCCL
// ends the process after `timeout`.
//
// A sum over ranks is made in an order that does not depend on who is faster: values are cut into
// one share per rank, every rank receives its share of all others (all-to-all), adds them by the
// tree below, and hands the sum out again. That moves 2 (N - 1) / N of the bytes per rank, as a
// ring does, and half of it where a rank needs its own share only.
//
//   tree(N) of x_0 ... x_{N-1}: neighbours are added, x_0 + x_1, x_2 + x_3, ..., then neighbours of
//   these; what has no neighbour waits and is added from the last to the first.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/parallel/rank_place.hpp"

namespace blockwise {

// Bounds of the shares of n values: [size + 1], ascending, from 0 to n. A share may be empty.
using Shares = std::vector<std::int64_t>;
Shares even_shares(std::int64_t values, std::int64_t ranks);

class Ranks {
 public:
  Ranks();  // this process alone: nothing is sent
  // Meets the others; from then on this process ignores SIGPIPE. Throws std::runtime_error naming
  // the place where that takes longer than `timeout`, which bounds every later wait, too. device: a
  // name as resolve_device() takes it, which from then on means this rank's own. Throws InputError
  // for a CUDA device that is not there, or that this build cannot share.
  Ranks(const RankPlace& place, std::chrono::seconds timeout, std::string_view device = "cpu");
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  std::int64_t rank() const { return rank_; }
  std::int64_t size() const { return size_; }
  bool is_first() const { return rank_ == 0; }
  bool is_alone() const { return size_ == 1; }
  const at::Device& device() const { return device_; }

  // Something on its way. wait() throws std::runtime_error, which names the ranks that have gone
  // where that is known. Tensors are kept alive.
  class Transfer {
   public:
    virtual ~Transfer() = default;
    virtual void wait() = 0;
  };

  // Starts to move shares: afterwards received holds, rank by rank, every rank's values of this
  // rank's share. values: [n] contiguous; received: [size * own share].
  std::unique_ptr<Transfer> start_scatter(const at::Tensor& values, const Shares& shares,
                                          const at::Tensor& received) const;
  // Starts to move parts of other sizes: to every rank the next sent[r] of values, from every rank
  // the next got[r] of received.
  std::unique_ptr<Transfer> start_exchange(const at::Tensor& values,
                                           const std::vector<std::int64_t>& sent,
                                           const at::Tensor& received,
                                           const std::vector<std::int64_t>& got) const;
  // Starts to hand out shares: afterwards values are the same on every rank.
  std::unique_ptr<Transfer> start_share(const at::Tensor& values, const Shares& shares) const;

  // Values [n], contiguous, become their sum over ranks, by the tree; or rank 0's. On a device they
  // meet.
  void sum(const at::Tensor& values) const;
  void take_first(const at::Tensor& values) const;

  // Where tensors are on a CUDA device: returns when every rank has called it, and throws where one
  // has gone. Otherwise nothing: transfers find out by themselves.
  void meet() const;

  // Every rank's numbers, as many of each, in the order of ranks.
  std::vector<double> gather(std::span<const double> own) const;
  // Rank 0's text, and its numbers.
  std::string text_of_first(const std::string& text) const;
  std::int64_t number_of_first(std::int64_t number) const;

 private:
  struct Group;
  [[noreturn]] void fail(const std::string& what) const;

  std::int64_t rank_ = 0, size_ = 1;
  at::Device device_{at::kCPU};
  std::unique_ptr<Group> group_;
};

// Adds up `parts` [count, n] of contiguous rows by the tree above; the sum is in row 0. Cost:
// (count - 1) n additions in place.
void add_by_tree(const at::Tensor& parts);

}  // namespace blockwise
