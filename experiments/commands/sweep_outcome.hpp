// The last word of a verb that ran members of a sweep.
#pragma once

#include "experiments/sweeps/sweep.hpp"

namespace blockwise {

SweepOutcome sum(const SweepOutcome& a, const SweepOutcome& b);

// What became of so many members and what to type next; returns the exit code.
int report_outcome(const SweepManifest& sweep, std::size_t members, const SweepOutcome& outcome,
                   bool json);

}  // namespace blockwise
