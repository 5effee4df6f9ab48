// What every file of results starts with: its format, the configuration, where the numbers come
// from, and how far they are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "experiments/records/run_state.hpp"

namespace blockwise {

const std::vector<std::string>& run_state_names();

struct Provenance {
  std::string program_version, git_commit, compiler, torch_version, hdf5_version, simd_target,
      device, started_at;
  std::int64_t threads = 0;
  std::int64_t seed = 0;
  std::int64_t ranks = 1;  // processes that made the run together
};

// A process that worked on the file, and the first step that it took.
struct RunProcess {
  std::int64_t from_step = 1;
  Provenance provenance;
};

struct FileFormat {
  std::string name;
  std::int64_t version;
};

void write_header(Hdf5File& file, const FileFormat& format, const std::string& config_yaml,
                  const std::string& config_hash, const Provenance& provenance);
// Throws InputError where the file is of another format or version.
void require_format(const Hdf5File& file, const std::filesystem::path& path,
                    const FileFormat& format);
Provenance read_provenance(const Hdf5File& file);

// /provenance/processes: equally long columns, a row per process, in their order: from_step, and of
// its provenance everything but the seed, which is the run's. Its steps end where the next row's
// begin. Replaces the table that is there, so before start_swmr().
void write_processes(Hdf5File& file, const std::vector<RunProcess>& processes);
// In a file without the table (of an earlier version) the one that /provenance names.
std::vector<RunProcess> read_processes(const Hdf5File& file);
// What the table is once a process goes on after `step`: those that have rows up to there, and it.
// Where there are none, /provenance is this process's too.
void add_process(Hdf5File& file, std::int64_t step, const Provenance& provenance);

// /status: running.
void write_status(Hdf5File& file);

}  // namespace blockwise
