// From where a run starts in its output folder: at its first step, or where an earlier process left
// off.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/records/past_run.hpp"
#include "experiments/training/continuation.hpp"
#include "experiments/training/trainer.hpp"

namespace blockwise {

struct RunStart {
  RunIdentity identity;             // what the files of the run say from now on
  std::vector<std::string> hashes;  // that the run file may have
  struct Checkpoint {
    std::filesystem::path folder;
    std::int64_t step;
    std::vector<std::string> hashes;  // that it may have
  };
  std::optional<Checkpoint> checkpoint;  // to load: the run's newest, or another's to start from
  bool forked = false;                   // it is another run's, and this one's own is to be written
  bool has_file = false;                 // a run file to go on in
  std::optional<RunResult> over;         // the run that is there, where nothing is left to do
};

// Notes go to standard error. Where the run file is damaged it is moved aside, and the run goes on
// from its checkpoint in a new one. Where nothing is left to do, what may change freely (paths,
// intervals) is recorded. The folder's lock is held. Throws InputError as find_past_run()
// and continue_run() do, as open_fork() does for a run that starts from another, and where a run
// that is over is to go on without a checkpoint.
RunStart start_run(const ResolvedRun& run);

// FOLDER/config.yaml says what configuration the run has; not touched where it does.
void keep_config(const std::filesystem::path& folder, const std::string& yaml);

// The files that a run is to have been made from.
WantedRun wanted_run(const ResolvedRun& run);

}  // namespace blockwise
