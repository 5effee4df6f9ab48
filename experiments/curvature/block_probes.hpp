// Lanczos from one random start for every block of a group, in lockstep: where products share
// graphs, every batch's graph serves all blocks.
#pragma once

#include <memory>
#include <vector>

#include "experiments/curvature/block_measurement.hpp"

namespace blockwise {

using BlockGroup = std::vector<std::unique_ptr<BlockMeasurement>>;

// Runs probe `p` of every block of the group that `progress` does not have, records it (with
// confirmed pairs of both ends after probe 0, where they come from Lanczos) and adds it to progress
// and densities. Starts depend on the seed and p only. Returns false where it was stopped; the
// state it leaves is continued with the same bits.
bool run_probe(const MeasurementScope& scope, MeasurementProgress& progress, BlockGroup& group,
               std::int64_t p);

}  // namespace blockwise
