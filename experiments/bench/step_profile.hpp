// Where the time of a training step goes.
//
// Every operation of LibTorch is timed by itself, without what it calls in turn, and counted to one
// kind of work; what the run records of its steps (data, optimizer, the whole) does the rest, so
// that the parts add up to the step. Cost: about a microsecond an operation, which the step's time
// contains.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"

namespace blockwise {

struct ProfilePart {
  std::string name;
  double seconds = 0.0;  // of one step, the mean
};

struct StepProfile {
  std::int64_t steps = 0;  // that were averaged over, after two that were not
  double seconds = 0.0;    // of one step, recording and evaluations apart
  double tokens_per_second = 0.0;
  std::vector<ProfilePart> parts;       // add up to `seconds`
  std::vector<ProfilePart> operations;  // of LibTorch, the longest first, at most 12
};

// Trains `steps` + 2 steps in a folder that is taken away again. Throws as train() does.
StepProfile profile_steps(RunConfig config, std::int64_t steps);

}  // namespace blockwise
