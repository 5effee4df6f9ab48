#include "experiments/training/communication_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/checked_math.hpp"
#include "core/parallel/bucket_exchange.hpp"
#include "core/parallel/gradient_sum.hpp"
#include "experiments/training/step_share.hpp"

namespace blockwise {
namespace {

// Of bytes that are spread over processes with the elements that they are of.
std::int64_t largest_part(std::int64_t bytes, const Cluster& cluster) {
  const auto even = ceil_divide(bytes, cluster.ranks);
  return std::max(even, std::int64_t(std::ceil(cluster.largest_share * double(bytes))));
}

// State and masters of bfloat16 weights are spread.
std::int64_t own_optimizer_bytes(const MemoryPlan& plan, const RunConfig& config,
                                 const Cluster& cluster) {
  if (config.parallel.shard == "none") return plan.optimizer_bytes();
  return largest_part(plan.optimizer_bytes(), cluster);
}

std::int64_t sum_of(const std::vector<std::int64_t>& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

// What owners hand out after a step: sums of gradients, or new weights as the model computes with
// them, of layers that are collected none.
std::int64_t handed_out_bytes(const MemoryPlan& plan, const RunConfig& config) {
  if (config.parallel.shard == "none") return 4 * plan.parameters;
  return plan.parameter_bytes - (config.parallel.shares_weights() ? sum_of(plan.layer_bytes) : 0);
}

// Layers that are collected for a micro-batch: forward and backward, the last of them once.
std::int64_t collected_bytes(const MemoryPlan& plan, const RunConfig& config) {
  if (!config.parallel.shares_weights() || plan.layer_bytes.empty()) return 0;
  return 2 * sum_of(plan.layer_bytes) - plan.layer_bytes.back();
}

// Weights and masters that are in memory at a time where layers are collected: two layers, what is
// outside of them, and the masters of this share.
std::int64_t weight_bytes_at_a_time(const MemoryPlan& plan, const Cluster& cluster) {
  std::int64_t two = 0, before = 0;
  for (const auto bytes : plan.layer_bytes) {
    two = std::max(two, before + bytes);
    before = bytes;
  }
  return plan.parameter_bytes - sum_of(plan.layer_bytes) + two +
         largest_part(4 * plan.parameters, cluster);
}

// What gradients take beside the plan: buckets that are received, and, where no process keeps all
// gradients, as many that are sent.
std::int64_t received_bytes(const RunConfig& config, std::int64_t gradient_bytes,
                            std::int64_t ranks) {
  if (ranks == 1) return 0;
  return std::min(gradient_bytes,
                  BucketExchange::kMostReceived * (config.parallel.bucket_mb << 20));
}

std::int64_t sequence_length(const RunConfig& config) {
  return std::max<std::int64_t>(1, config.data.spec->stated_shape().sequence_length);
}

// Shares of the optimizer are consecutive elements of the model: of a bucket that is small beside
// it most is one rank's. Those of layers are even.
double sent_on(const MemoryPlan& plan, const RunConfig& config, std::int64_t ranks) {
  const auto bucket = config.parallel.bucket_mb << 20;
  const bool is_small = 4 * plan.parameters > BucketExchange::kMostUneven * bucket;
  const bool uneven = config.parallel.shard != "none" && !config.parallel.shares_weights() &&
                      is_small && ranks > BucketExchange::kMostUneven;
  return uneven ? 1.0 / double(ranks) : 0.0;
}

// Sent in a step, were all of it sent.
double travelling_bytes(const MemoryPlan& plan, const RunConfig& config, std::int64_t ranks,
                        std::int64_t micro_batches) {
  const auto times = config.parallel.shares_gradients() ? micro_batches / ranks : 1;
  const double gradients = 4.0 * double(plan.parameters) * (1.0 + sent_on(plan, config, ranks));
  return double(times) * (gradients + double(collected_bytes(plan, config))) +
         double(handed_out_bytes(plan, config));
}

// The plan's gradients are those of one process that makes the whole step: more sums of several
// micro-batches than each of `ranks` has.
std::int64_t sums_less(const RunConfig& config, std::int64_t gradients, std::int64_t micro_batches,
                       std::int64_t ranks) {
  const auto order = config.parallel.order();
  return (further_buffers(order, micro_batches) - further_buffers(order, micro_batches / ranks)) *
         gradients;
}

double per_second(double amount, double rate) { return rate > 0.0 ? amount / rate : 0.0; }

}  // namespace

CommunicationPlan plan_communication(const MemoryPlan& plan, const RunConfig& config,
                                     const Cluster& cluster) {
  const auto ranks = cluster.ranks;
  const auto length = sequence_length(config);
  const auto micro_batches = micro_batches_of(config, length, ranks);
  const auto tokens = micro_batches * config.trainer.micro_batch_size * length;
  const auto gradients = 4 * plan.parameters;
  CommunicationPlan of;
  of.sent_bytes =
      double(ranks - 1) / double(ranks) * travelling_bytes(plan, config, ranks, micro_batches);
  of.seconds_sending = per_second(of.sent_bytes, cluster.bytes_per_second);
  of.seconds_computing =
      per_second(plan.flops_per_token * double(tokens) / double(ranks), cluster.flops_per_second);
  of.optimizer_bytes = own_optimizer_bytes(plan, config, cluster);
  const auto received = received_bytes(config, gradients, ranks);
  of.peak_bytes = plan.peak_bytes - plan.optimizer_bytes() + of.optimizer_bytes + received;
  if (ranks > 1 && !config.parallel.shares_gradients()) {
    of.peak_bytes -= sums_less(config, gradients, micro_batches, ranks);
  }
  if (ranks > 1 && config.parallel.shares_gradients()) {
    of.peak_bytes += largest_part(gradients, cluster) + received - plan.gradient_bytes;
  }
  if (ranks > 1 && config.parallel.shares_weights()) {
    const auto masters = largest_part(plan.master_bytes, cluster);  // among those of the optimizer
    of.peak_bytes += weight_bytes_at_a_time(plan, cluster) - masters - plan.parameter_bytes;
  }
  return of;
}

}  // namespace blockwise
