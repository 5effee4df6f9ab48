// Trainer: one run from its configuration to its file. The road: layout, store, data set, model,
// optimizer, recorder, then the loop.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/base/stop_query.hpp"
#include "core/memory/paged_file.hpp"
#include "core/parallel/ranks.hpp"
#include "experiments/config/resolved_run.hpp"
#include "experiments/records/run_recorder.hpp"

namespace blockwise {

// What a run ends with.
struct RunOutcome {
  RunState state = RunState::running;
  std::int64_t step = 0;  // steps done
  double training_loss = 0.0;
  double validation_loss = 0.0;  // of the last evaluation; NaN before the first
  std::string message;
  std::optional<PagingReport> paging = {};  // of what is in a file, by this process
};

// Called after every step with what was recorded; for progress display only.
using StepObserver = std::function<void(const StepRecord&)>;

struct TrainingHooks {
  StepObserver step;
  StopQuery stop = never_stop;  // asked before every step and while held-out examples are evaluated
  std::function<std::string()> stopped_by = {};  // what `stop` saw; called where it said true
};

// Runs or resumes: an output folder whose newest checkpoint belongs to this configuration continues
// from it, and the result is bit-equal to a run that never stopped (same machine, same threads).
// What does not define the run may be another than before, and trainer.steps may grow, also of one
// that has finished (experiments/training/continuation.hpp); otherwise a finished run is left as it
// is. A stop ends it as interrupted, with a checkpoint. Throws InputError for
// an output folder of another configuration or of other data, and for damaged checkpoints.
//
// ranks: of the processes that make the run together, each of which calls this; rank 0 has the
// hooks and the folder (follower.hpp). The steps are those of one process up to the order of sums,
// or to the bit where parallel.gradient_sum is pairwise (core/parallel/gradient_sum.hpp).
RunOutcome train(const ResolvedRun& run, const TrainingHooks& hooks, const Ranks& ranks = Ranks());

}  // namespace blockwise
