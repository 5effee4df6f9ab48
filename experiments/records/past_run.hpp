// What a run's folder holds of a run that was there before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "experiments/records/run_recorder.hpp"

namespace blockwise {

struct PastRun {
  RunIdentity identity;
  std::optional<RunResult> result;  // of the run file; nothing where there is none to go on in
  std::optional<std::int64_t> checkpoint;  // step of the newest
  std::string lost;  // why there is no result though there are checkpoints; otherwise empty

  // Steps that stay when it goes on: those before a run that was forked, too.
  std::int64_t steps() const {
    const auto& origin = identity.history.origin;
    return checkpoint.value_or(origin ? origin->step : 0);
  }
};

// Of the folder's run file; where that is missing or damaged, of its newest checkpoint. Nothing
// where there is neither. A file that a killed writer left marked as open is written anew, so that
// every reader opens it. The folder's lock is held (core/io/output_folder.hpp). Throws InputError
// for a damaged file without a checkpoint, one that may not be read, and one of another format.
std::optional<PastRun> find_past_run(const std::filesystem::path& folder);

// Of what run a checkpoint is: as it says, or, where it is of an earlier version, as the run's
// config.yaml does. Throws InputError as checkpoint_identity() does.
RunIdentity identity_of_checkpoint(const std::filesystem::path& checkpoint);

// Moves the run file that cannot be read to a name beside it that is free, where there is one.
// Returns that name.
std::optional<std::filesystem::path> keep_damaged_file(const std::filesystem::path& folder);

}  // namespace blockwise
