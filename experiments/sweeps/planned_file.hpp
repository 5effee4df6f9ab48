// The runs that a folder holds, for those that read them all: a sweep's members, or one run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

// A run that is to be read.
struct PlannedFile {
  std::string id;
  std::string group;
  std::optional<std::int64_t> seed;  // the run file's own where none is given
  std::vector<std::pair<std::string, std::string>> settings;
  std::filesystem::path run;
  std::string hash;       // of the configuration that it is to have run; empty where nobody says
  bool confirms = false;  // on a seed that chose nothing
  std::vector<std::string> shorter = {};  // hashes under lengths that it had, before it grew
  std::int64_t steps = 0;                 // that it is to have; 0 where nobody says
};

PlannedFile planned_file(const SweepMember& member, const std::filesystem::path& folder);

// A run folder is a sweep of one.
PlannedFile single_file(const std::filesystem::path& folder);

// Throws InputError for a run of something else, which must not stand under the settings that the
// manifest gives it. One that has finished, but not the steps that it is to have by now, passes.
void require_planned(const PlannedFile& planned, const RunResult& run);
// Whether it is such a one.
bool is_to_grow(const PlannedFile& planned, const RunResult& run);

}  // namespace blockwise
