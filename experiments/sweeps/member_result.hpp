// What became of a member of a sweep, by its run file.
#pragma once

#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

// What its run file says; a failed state with the reason where there is none or it cannot be read.
RunResult member_result(const SweepManifest& sweep, const SweepMember& member);

// Whether nothing is left to do (is_over() of run_end.hpp) under the member's configuration, or
// under its run's own where the manifest was read without.
bool has_ended(const SweepMember& member, const RunResult& result);

}  // namespace blockwise
