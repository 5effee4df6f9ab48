// Which process of how many this is, as the launcher's environment says. Launchers: torchrun (and
// whatever else sets RANK and WORLD_SIZE), Open MPI, MPICH's Hydra and Intel MPI, srun.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace blockwise {

struct RankPlace {
  std::int64_t rank = 0, size = 1;
  std::int64_t local_rank = 0;  // among those on this machine
  std::string address;          // of the host where the processes meet
  std::uint16_t port = 0;       // there
  // The launcher serves the meeting point itself; otherwise rank 0 does.
  bool launcher_serves = false;
  // Of the launcher's tries: torchrun starts all processes again where one fails.
  std::string attempt = "0";

  bool is_alone() const { return size == 1; }
};

// Value of an environment variable; null where it is not set.
using EnvironmentLookup = std::function<const char*(const char*)>;

// RANK and WORLD_SIZE come first, then OMPI_COMM_WORLD_RANK / SIZE, PMI_RANK / SIZE, SLURM_PROCID /
// SLURM_STEP_NUM_TASKS (which a batch script without srun has not); without any, one process. The
// local rank is in LOCAL_RANK, OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID or SLURM_LOCALID; where
// that is missing, the rank.
// MASTER_ADDR and MASTER_PORT say where to meet. Without them: this machine where the launcher says
// that all processes are on it; port 29500, or from 20000 to 39999 by what names the job, so that
// two of them can share a machine: PMIX_NAMESPACE, or under Slurm its number and step. Throws
// InputError naming the variable for a number that is none or out of range, and where processes on
// several machines have no MASTER_ADDR.
// What srun's plugin pmi2 sets beside its own is srun's.
RankPlace rank_place(const EnvironmentLookup& environment);

// For a process whose children are no ranks of the launcher's: takes what makes them such out of
// the environment. unset: takes a variable out.
void forget_launcher(const std::function<void(const char*)>& unset);

}  // namespace blockwise
