// A sweep's members as jobs of a cluster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/cluster/job_script.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

struct SweepJobs {
  std::vector<std::int64_t> jobs;  // that were submitted
  std::int64_t submitted = 0;      // members of them
  std::int64_t queued = 0;         // that an earlier call submitted, and that have not ended
  std::int64_t ended = 0;
};

// The ids of the members that have not ended, in the sweep's order.
std::vector<std::string> open_members(const SweepManifest& sweep);

// Submits the open members that no task in the queue has, in as many arrays as their size needs.
// Where at_once bounds the tasks, each array waits for the one before. `array` says all but the
// members. Throws as slurm.hpp does; what was submitted before stays and is remembered.
SweepJobs submit_members(const SweepManifest& sweep, const JobArray& array);

}  // namespace blockwise
