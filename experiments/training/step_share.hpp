// The micro-batches of a step, and whether so many processes can share them.
#pragma once

#include <cstdint>

#include "experiments/config/run_config.hpp"

namespace blockwise {

// Of all processes: trainer.global_batch_tokens / (micro_batch_size x sequence_length), 1 where it
// is 0. sequence_length: targets of an example. Throws InputError where `ranks` processes cannot
// take equally many, or not with parallel's and trainer.gradients' settings.
std::int64_t micro_batches_of(const RunConfig& config, std::int64_t sequence_length,
                              std::int64_t ranks);

}  // namespace blockwise
