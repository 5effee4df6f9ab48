#include "experiments/curvature/moment_batches.hpp"

#include <fmt/format.h>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"

namespace blockwise {

MomentBatches hessian_moment_batches(const HessianConfig& config, std::int64_t count,
                                     std::int64_t sample) {
  MomentBatches batches{count, 0, 1, config.batch_size, config.batch_size, config.example_order()};
  const auto own = batches.of_group() * kMomentGroups * batches.size();
  batches.first = (sample + 2) * config.batches * config.batch_size + sample * own;
  return batches;
}

MomentBatches run_moment_batches(const RunConfig& config, std::int64_t sequence_length,
                                 std::int64_t count, std::int64_t samples) {
  const auto& trainer = config.trainer;
  const auto micro = trainer.micro_batch_size * sequence_length;
  const auto tokens = trainer.global_batch_tokens == 0 ? micro : trainer.global_batch_tokens;
  require_input(tokens % micro == 0,
                "trainer.global_batch_tokens is {}, not a multiple of micro_batch_size {} x "
                "sequence_length {} = {}",
                tokens, trainer.micro_batch_size, sequence_length, micro);
  MomentBatches batches{count,
                        0,
                        tokens / micro,
                        trainer.micro_batch_size,
                        config.hessian.batch_size,
                        config.hessian.example_order()};
  const auto taken = samples * config.hessian.batches * config.hessian.batch_size;
  batches.first = (taken + batches.size() - 1) / batches.size() * batches.size();
  return batches;
}

void require_moment_examples(const MomentBatches& batches, const Dataset& data) {
  if (batches.order == ExampleOrder::sampled) return;
  const auto wanted = checked_product(
      "examples behind the second moment",
      {checked_product("batches", {batches.of_group(), kMomentGroups}), batches.size()});
  const auto size = data.sequential_size();
  require_input(batches.first <= size && wanted <= size - batches.first,
                "hessian.order: sequential takes every example once, the training data have {}; "
                "the second moment takes {} behind {} of the Hessian's",
                size, wanted, batches.first);
}

std::string moment_text(const MomentBatches& batches) {
  return fmt::format("{} squared gradients of {} examples each ({} x {}), before any clipping",
                     batches.of_group() * kMomentGroups, batches.size(), batches.micro_batches,
                     batches.micro_batch_size);
}

}  // namespace blockwise
