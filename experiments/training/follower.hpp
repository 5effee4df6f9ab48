// A run of several processes: rank 0 leads. It alone reads and writes the run's folder's records,
// and decides what comes next; the others follow and take their part.
#pragma once

#include "core/parallel/ranks.hpp"
#include "experiments/config/resolved_run.hpp"
#include "experiments/training/run_start.hpp"
#include "experiments/training/trainer.hpp"

namespace blockwise {

// What all ranks do next, together.
enum class RankCommand { step, norms, evaluate, test, measure, collect, end };

// By rank 0, before its own part; the others wait for it. Nothing for a process that is alone.
void lead(const Ranks& ranks, RankCommand command);
// The last command, with what the run ends as.
void lead_end(const Ranks& ranks, RunState state);
// By rank 0, before anything else: where the run starts.
void lead_start(const Ranks& ranks, const RunStart& start);

// The part of another rank, until the run ends. Checkpoints are read from the run's folder, which
// all machines see. The outcome has the state and the step alone. Throws as train() does, and
// std::runtime_error naming the ranks that have gone.
RunOutcome follow(const ResolvedRun& run, at::Device device, const Ranks& ranks);

// The run's first parameters: from its seed, or from the model that it starts from.
void start_parameters(const ResolvedRun& run, ParameterStore& store);

}  // namespace blockwise
