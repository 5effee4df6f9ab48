// How many members of a sweep run at a time where nobody says.
#pragma once

#include <cstdint>

#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

// One member on each thread that a run alone would have (thread_count(0)), as far as memory
// available now holds members of the size that the largest is planned to have, and 1 where a member
// would run on a GPU. Members on a thread each do more work together than one member on all
// threads, which wait for each other at every product (docs/speed.md).
// Cost: plan_memory() for one member of every group and every choice of model, data and trainer,
// some 30 ms each.
std::int64_t members_at_once(const SweepManifest& sweep);

// The rule itself; all at least 1.
std::int64_t members_that_fit(std::int64_t members, std::int64_t threads,
                              std::int64_t bytes_available, std::int64_t bytes_of_largest);

}  // namespace blockwise
