// Which examples the second moment of the gradient is of, as a configuration says it.
#pragma once

#include <string>

#include "core/dataset.hpp"
#include "experiments/config/run_config.hpp"
#include "hessian/evidence/second_moments.hpp"

namespace blockwise {

// `count` batches of hessian.batch_size, behind those of the Hessian and of its further sample that
// validates. Another `sample` is of others, as that of the Hessian is.
MomentBatches hessian_moment_batches(const HessianConfig& config, std::int64_t count,
                                     std::int64_t sample);

// `count` batches as the run's optimizer sees them, of trainer.global_batch_tokens: the first ones
// of its order that `samples` samples of the Hessian's batches do not reach into. Throws InputError
// where global_batch_tokens is no multiple of a micro-batch. hessian.batch_size examples at a time.
MomentBatches run_moment_batches(const RunConfig& config, std::int64_t sequence_length,
                                 std::int64_t count, std::int64_t samples);

// Throws InputError where sequential data end before the last batch.
void require_moment_examples(const MomentBatches& batches, const Dataset& data);

// For people: how many gradients, of how many examples each.
std::string moment_text(const MomentBatches& batches);

}  // namespace blockwise
