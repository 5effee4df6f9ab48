// Which job of a cluster runs which members: a file in the sweep's folder for every array that was
// submitted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "experiments/cluster/slurm.hpp"

namespace blockwise {

// Writes JOB.json into slurm_folder(): the job's number and its members, in the order of its tasks.
void remember_job(const std::filesystem::path& sweep, std::int64_t job,
                  const std::vector<std::string>& members);

// The members of those of these tasks that are the sweep's. Throws InputError for a damaged file.
std::set<std::string> members_of(const std::filesystem::path& sweep,
                                 const std::set<SlurmTask>& tasks);

}  // namespace blockwise
