// Lanczos from one random start for every part of a group, in lockstep: where products share
// graphs, every batch's graph serves all parts.
#pragma once

#include <memory>
#include <vector>

#include "experiments/curvature/part_measurement.hpp"

namespace blockwise {

using PartGroup = std::vector<std::unique_ptr<PartMeasurement>>;

// Runs probe `p` of every part of the group that `progress` does not have, records it (with
// confirmed pairs of both ends after probe 0, where they come from Lanczos) and adds it to progress
// and densities. Starts depend on the seed and p only. Returns false where it was stopped; the
// state it leaves is continued with the same bits.
bool run_probe(const MeasurementScope& scope, MeasurementProgress& progress, PartGroup& group,
               std::int64_t p);

}  // namespace blockwise
