// The part of every rank but 0 in a command that several processes share.
#pragma once

#include <functional>

#include "core/parallel/ranks.hpp"
#include "experiments/config/run_config.hpp"
#include "experiments/records/run_state.hpp"

namespace blockwise {

// Meets the others and does its part, until rank 0 says how it ended; returns the exit code of
// that. A dry run is rank 0's alone. Throws what Ranks and `serve` throw.
int follow_first(const RankPlace& place, const RunConfig& config, bool dry_run,
                 const std::function<RunState(const Ranks&)>& serve);

}  // namespace blockwise
