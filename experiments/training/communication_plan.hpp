// What processes that make a run together send each other, and hold, before anything is started.
#pragma once

#include <cstdint>

#include "experiments/config/run_config.hpp"
#include "experiments/training/memory_plan.hpp"

namespace blockwise {

// N processes on devices and links of these rates, each of one process.
struct Cluster {
  std::int64_t ranks = 1;
  double bytes_per_second = 0.0;  // that a process sends; 0: not known
  double flops_per_second = 0.0;  // that it computes; 0: not known
  // Of the elements that processes share, what the one has that has most; less than an
  // even share counts as one.
  double largest_share = 0.0;
};

struct CommunicationPlan {
  // Sent by each process in a step, and received: gradients to their owners, (N - 1) / N of their
  // 4 n bytes, 1 / N more by way of ranks that sum them (core/parallel/bucket_exchange.hpp), and
  // sums or new weights back, as many, or half as many where bfloat16 weights have their masters
  // with their owners; with parallel.shard gradients the first for each micro-batch; with
  // parameters the weights of layers for each micro-batch, too, forward and backward, of the last
  // layer once. Evaluations, which collect layers as well, are not counted. The same for every
  // rule: what a rule shares within a tensor stays with its owner.
  double sent_bytes = 0.0;
  double seconds_sending = 0.0;      // sent_bytes at that rate; 0 where the rate is not known
  double seconds_computing = 0.0;    // the process' tokens of a step; the same
  std::int64_t optimizer_bytes = 0;  // of the process with the largest share of the state
  // The same, with what it receives; with parallel.shard gradients about: activations go
  // while gradients come.
  std::int64_t peak_bytes = 0;
};

// plan: of the same configuration. Throws InputError where N processes cannot share its step.
CommunicationPlan plan_communication(const MemoryPlan& plan, const RunConfig& config,
                                     const Cluster& cluster);

}  // namespace blockwise
