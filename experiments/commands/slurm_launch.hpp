// `sweep --launcher slurm`: what is submitted, or printed, and what is said about it.
#pragma once

#include <chrono>
#include <cstdint>

#include "experiments/config/sweep_fields.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

struct SlurmLaunch {
  SweepConfig config;
  SweepManifest sweep;
  std::int64_t at_once = 0;
  std::chrono::seconds lease{0};
  bool export_only = false;
  bool json = false;
};

// The members that have not ended; where all of them have, the confirmations. Returns the exit
// code. Throws as submit_members() of sweep_jobs.hpp does.
int launch_on_slurm(const SlurmLaunch& launch);

}  // namespace blockwise
