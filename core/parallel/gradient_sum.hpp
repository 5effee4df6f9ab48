// GradientSum: adds up the gradients of a step over its micro-batches and over ranks, while the
// backward pass of the last one still runs. The flat gradient buffer is cut into buckets; one whose
// gradients are all there is on its way to the other ranks while the layers before it are
// differentiated.
//
// Order of the sum over a step's micro-batches, of which rank r of N has M / N consecutive ones:
//   running   each rank adds its own one after the other; then the tree of ranks (ranks.hpp)
//   pairwise  the tree over all M of them. Where M / N is a power of two, a rank's own ones are a
//             whole branch, so the sum has the same bits for every such N, and for one process.
// Pairwise keeps ceil(log2(M / N)) further gradient buffers, and adds one pass over the gradient
// for every micro-batch.
//
// Memory with several ranks: four buckets, as they are received.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/parallel/ranks.hpp"
#include "core/parameters/parameter_store.hpp"

namespace blockwise {

enum class SumOrder { running, pairwise };

class GradientSum {
 public:
  // Buckets in memory as they are received, at most.
  static constexpr std::int64_t kMostReceived = 4;

  struct Options {
    SumOrder order = SumOrder::running;
    std::int64_t micro_batches = 1;  // of this rank, in every step
    std::int64_t bucket_bytes = std::int64_t{25} << 20;
    // Who needs which elements of the sum; empty: everybody all of them.
    Shares owners;
  };

  // Store and ranks outlive it. The store keeps its gradients, and all of them are written by
  // backward passes between begin() and end() alone.
  GradientSum(ParameterStore& store, const Ranks& ranks, Options options);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  // Zeroes the gradients.
  void begin_step();
  // Around the backward pass of each of this rank's micro-batches, also of one that has no target
  // and so no backward pass.
  void begin_micro_batch();
  void end_micro_batch();
  // Afterwards the store's gradients hold the sum: all of them, or those of this rank's share.
  void end_step();
  // Seconds that this rank has waited for others since begin_step().
  double waited() const { return waited_; }

 private:
  class Hook;
  struct Bucket {
    std::int64_t begin = 0, end = 0;  // elements
    std::int64_t tensors = 0;         // with elements in it
    std::int64_t missing = 0;         // gradients, in this micro-batch
    Shares shares;                    // of its elements
    at::Tensor received;
    std::unique_ptr<Ranks::Transfer> transfer;
  };
  void make_buckets(std::int64_t elements);
  Shares shares_of(const Bucket& bucket) const;
  void gradient_is_there(std::size_t parameter);
  // Those that are complete, from the last: in the order in which every rank sends them.
  void close_complete_buckets();
  void add_micro_batches(const Bucket& bucket);
  void send(Bucket& bucket);
  void receive_oldest();
  void wait_for(Ranks::Transfer& transfer);
  bool is_last() const { return micro_batch_ + 1 == options_.micro_batches; }

  ParameterStore& store_;
  const Ranks& ranks_;
  Options options_;
  std::vector<Bucket> buckets_;               // by elements, ascending
  std::vector<std::vector<std::size_t>> in_;  // of each parameter: its buckets
  std::size_t open_ = 0;                      // buckets [0, open_) are not closed
  std::deque<std::size_t> on_their_way_;
  std::vector<at::Tensor> branches_;  // sums of 1, 2, 4, ... micro-batches
  std::int64_t micro_batch_ = -1;
  double waited_ = 0.0;
};

}  // namespace blockwise
