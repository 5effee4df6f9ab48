#include "experiments/training/communication_plan.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/parallel/bucket_exchange.hpp"

namespace blockwise {
namespace {

// State and masters of bfloat16 weights are spread.
std::int64_t own_optimizer_bytes(const MemoryPlan& plan, const RunConfig& config,
                                 std::int64_t ranks) {
  if (config.parallel.shard == "none") return plan.optimizer_bytes();
  return ceil_divide(plan.optimizer_bytes(), ranks);
}

// What owners hand out after a step: sums of gradients or new float32 weights, or bfloat16 weights
// whose masters stay, and with these what is computed with in float32.
std::int64_t handed_out_bytes(const MemoryPlan& plan, const RunConfig& config) {
  if (config.parallel.shard == "none" || config.trainer.precision != "bf16") {
    return 4 * plan.parameters;
  }
  const auto float32 = (plan.parameter_bytes - 2 * plan.parameters) / 2;
  return 2 * plan.parameters + 4 * float32;
}

// What gradients take beside the plan: buckets that are received, and, where no process keeps all
// gradients, as many that are sent.
std::int64_t received_bytes(const RunConfig& config, std::int64_t gradient_bytes,
                            std::int64_t ranks) {
  if (ranks == 1) return 0;
  return std::min(gradient_bytes,
                  BucketExchange::kMostReceived * (config.parallel.bucket_mb << 20));
}

// Times that gradients travel in a step.
std::int64_t scatters(const RunConfig& config, std::int64_t ranks) {
  if (config.parallel.shard != "gradients") return 1;
  const auto length = std::max<std::int64_t>(1, config.data.spec->stated_shape().sequence_length);
  const auto micro_batch = config.trainer.micro_batch_size * length * ranks;
  return std::max<std::int64_t>(1, config.trainer.global_batch_tokens / micro_batch);
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
  const auto travels = scatters(config, ranks) * gradients + handed_out_bytes(plan, config);
  of.sent_bytes = double(ranks - 1) / double(ranks) * double(travels);
  of.seconds_sending = per_second(of.sent_bytes, cluster.bytes_per_second);
  of.seconds_computing =
      per_second(plan.flops_per_token * double(tokens) / double(ranks), cluster.flops_per_second);
  of.optimizer_bytes = own_optimizer_bytes(plan, config, ranks);
  const auto received = received_bytes(config, gradients, ranks);
  of.peak_bytes = plan.peak_bytes - plan.optimizer_bytes() + of.optimizer_bytes + received;
  if (ranks > 1 && config.parallel.shard == "gradients") {
    of.peak_bytes += ceil_divide(gradients, ranks) + received - plan.gradient_bytes;
  }
  return of;
}

}  // namespace blockwise
