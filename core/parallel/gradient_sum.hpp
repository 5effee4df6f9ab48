// GradientSum: the gradients of a step, added up over its micro-batches and over ranks, while the
// backward pass still runs: buckets whose gradients are all there travel while the layers before
// them are differentiated.
//
// Order of the sum over a step's micro-batches, of which rank r of N has M / N consecutive ones:
//   running   each rank adds its own one after the other; then the tree of ranks (ranks.hpp)
//   pairwise  the tree over all M of them. Where M / N is a power of two, a rank's own ones are a
//             whole branch, so the sum has the same bits for every such N, and for one process.
// Pairwise keeps ceil(log2(M / N)) further gradient buffers, and adds one pass over the gradient
// for every micro-batch.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>

#include "core/parallel/owners.hpp"
#include "core/parallel/ranks.hpp"
#include "core/parameters/parameter_store.hpp"

namespace blockwise {

enum class SumOrder { running, pairwise };

class GradientSum {
 public:
  struct Options {
    SumOrder order = SumOrder::running;
    std::int64_t micro_batches = 1;  // of this rank, in every step
    std::int64_t bucket_bytes = std::int64_t{25} << 20;
    // Who needs which elements of the sum; empty: everybody all of them.
    Owners owners;
  };

  virtual ~GradientSum() = default;
  // Zeroes the gradients.
  virtual void begin_step() = 0;
  // Around the backward pass of each of this rank's micro-batches, also of one that has no target
  // and so no backward pass.
  virtual void begin_micro_batch() = 0;
  virtual void end_micro_batch() = 0;
  // Afterwards the sum is there: all of it, or this rank's share.
  virtual void end_step() = 0;
  // Seconds that this rank has waited for others since begin_step().
  virtual double waited() const = 0;
};

// Further gradient buffers that a kept sum holds from its beginning on.
constexpr std::int64_t further_buffers(SumOrder order, std::int64_t micro_batches) {
  return order == SumOrder::pairwise ? std::bit_width(std::uint64_t(micro_batches - 1)) : 0;
}

// In the gradient buffer of a store that keeps its gradients, each rank's own ones first. All of
// them are written by backward passes between begin_step() and end_step() alone. Store and ranks
// outlive the sum. Memory with several ranks: BucketExchange::kMostReceived buckets.
std::unique_ptr<GradientSum> make_kept_sum(ParameterStore& store, const Ranks& ranks,
                                           const GradientSum::Options& options);

// Of a store that releases its gradients, into `own`, what this rank owns (ZeRO-2:
// Rajbhandari et al., arXiv 1910.02054, section 5.2): a gradient is sent to its owner as it
// appears, and no rank has all of them. Each micro-batch is added up over ranks, then to those
// before: M / N times the transfers. Memory: buckets whose gradients are not complete, and twice
// kMostReceived.
std::unique_ptr<GradientSum> make_sharded_sum(ParameterStore& store, const Ranks& ranks,
                                              const GradientSum::Options& options,
                                              const at::Tensor& own);

}  // namespace blockwise
