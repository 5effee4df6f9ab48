#include "experiments/training/step_share.hpp"

#include "core/base/error.hpp"

namespace blockwise {

std::int64_t micro_batches_of(const RunConfig& config, std::int64_t sequence_length,
                              std::int64_t ranks) {
  const auto& trainer = config.trainer;
  const auto tokens = trainer.micro_batch_size * sequence_length;
  const auto count = trainer.global_batch_tokens == 0 ? 1 : trainer.global_batch_tokens / tokens;
  if (ranks == 1) return count;
  require_input(count % ranks == 0,
                "{} processes, and a step has {} micro-batches (trainer.global_batch_tokens {} / "
                "(micro_batch_size {} x sequence_length {})): each process takes equally many",
                ranks, count, count * tokens, trainer.micro_batch_size, sequence_length);
  const auto& parallel = config.parallel;
  require_input(
      !parallel.shares_gradients() || parallel.gradient_sum == "running" || count == ranks,
      "parallel.gradient_sum is pairwise, but with parallel.shard {} a process "
      "with {} micro-batches keeps no gradient of each",
      parallel.shard, count / ranks);
  require_input(trainer.gradients == "kept",
                "{} processes, but trainer.gradients is released: processes add up gradients that "
                "are kept",
                ranks);
  return count;
}

}  // namespace blockwise
