#include "experiments/training/communication_plan.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/parallel/gradient_sum.hpp"

namespace blockwise {
namespace {

// State that is spread; masters of bfloat16 weights are on every process.
std::int64_t own_optimizer_bytes(const MemoryPlan& plan, const RunConfig& config,
                                 std::int64_t ranks) {
  if (config.parallel.shard == "none") return plan.optimizer_bytes();
  return ceil_divide(plan.optimizer_bytes() - plan.master_bytes, ranks) + plan.master_bytes;
}

std::int64_t received_bytes(const RunConfig& config, std::int64_t gradient_bytes,
                            std::int64_t ranks) {
  if (ranks == 1) return 0;
  return std::min(gradient_bytes, GradientSum::kMostReceived * (config.parallel.bucket_mb << 20));
}

double per_second(double amount, double rate) { return rate > 0.0 ? amount / rate : 0.0; }

}  // namespace

CommunicationPlan plan_communication(const MemoryPlan& plan, const RunConfig& config,
                                     const Cluster& cluster) {
  const auto ranks = cluster.ranks;
  const auto tokens = config.trainer.global_batch_tokens;
  require_input(tokens % ranks == 0,
                "--ranks {}: trainer.global_batch_tokens {} is not a multiple of it", ranks,
                tokens);
  const auto gradients = 4 * plan.parameters;
  CommunicationPlan of;
  of.sent_bytes = 2.0 * double(ranks - 1) / double(ranks) * double(gradients);
  of.seconds_sending = per_second(of.sent_bytes, cluster.bytes_per_second);
  of.seconds_computing =
      per_second(plan.flops_per_token * double(tokens) / double(ranks), cluster.flops_per_second);
  of.optimizer_bytes = own_optimizer_bytes(plan, config, ranks);
  of.peak_bytes = plan.peak_bytes - plan.optimizer_bytes() + of.optimizer_bytes +
                  received_bytes(config, gradients, ranks);
  return of;
}

}  // namespace blockwise
