// The batch script of some members of a sweep.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/config/slurm_config.hpp"

namespace blockwise {

struct JobArray {
  std::string name;
  std::vector<std::string> members;  // ids: task i runs the i-th
  std::filesystem::path folder;      // the sweep's, absolute
  std::filesystem::path directory;   // in which the jobs start, absolute
  std::string program;
  std::int64_t at_once = 0;  // tasks that run at a time; 0: as many as Slurm starts
  std::chrono::seconds lease{0};
  SlurmOptions options;
};

// Where Slurm's own logs of the tasks go, and what submitted_jobs.hpp remembers.
std::filesystem::path slurm_folder(const std::filesystem::path& sweep);

// A task becomes the program, so that the signal to the batch shell that Slurm sends before the
// time limit (--signal=B:USR1) reaches it. Throws InputError for a folder that Slurm can be told by
// no name.
std::string job_script(const JobArray& array);

}  // namespace blockwise
