// From where a run starts in its output folder: at its first step, or where an earlier process left
// off.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/continuation.hpp"
#include "experiments/past_run.hpp"
#include "experiments/trainer.hpp"

namespace blockwise {

struct RunStart {
  RunIdentity identity;                    // what the files of the run say from now on
  std::vector<std::string> hashes;         // that what is there may have
  std::optional<std::int64_t> checkpoint;  // step of the one to load
  bool has_file = false;                   // a run file to go on in
  std::optional<RunResult> over;           // the run that is there, where nothing is left to do
};

// Notes go to standard error. Where the run file is damaged it is moved aside, and the run goes on
// from its checkpoint in a new one. The folder's lock is held. Throws InputError as find_past_run()
// and continue_run() do, and where a run that is over is to go on without a checkpoint.
RunStart start_run(const ResolvedRun& run);

}  // namespace blockwise
