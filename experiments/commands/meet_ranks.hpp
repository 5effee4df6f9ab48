// The processes that share a command, as its configuration has them meet.
#pragma once

#include "core/parallel/ranks.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise {

// By parallel.timeout_seconds and trainer.device. A signal before they have met ends the process:
// there is nothing yet to be kept, so stop handlers come after. Throws what Ranks throws.
Ranks meet_ranks(const RankPlace& place, const RunConfig& config);

}  // namespace blockwise
