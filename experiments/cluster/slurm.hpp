// Slurm, by its programs in the PATH: sbatch, squeue and scontrol (22.05 and newer are tested).
//
// Each of these throws InputError where its program is not there, and std::runtime_error with the
// program's own words where it fails.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace blockwise {

// A task of a job array: the array's number, and its own.
using SlurmTask = std::pair<std::int64_t, std::int64_t>;

// The job's number. It starts when the job `after` has ended in whatever way, where there is one.
std::int64_t submit_job(const std::string& script, std::optional<std::int64_t> after);

// This user's tasks that wait, run or end.
std::set<SlurmTask> queued_tasks();

// Tasks that an array may have: its MaxArraySize.
std::int64_t largest_array();

// Puts the job that this process runs in (SLURM_JOB_ID) back into the queue. Slurm ends what is
// left of it then.
void requeue_own_job();

}  // namespace blockwise
