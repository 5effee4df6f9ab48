// Replay: what an optimizer makes of gradients that were recorded (recording.hpp), step by step.
#pragma once

#include <cstdint>

#include "optimizers/optimizer_config.hpp"
#include "optimizers/recording.hpp"
#include "optimizers/state/state_store.hpp"

namespace blockwise {

struct Replay {
  NamedTensors tensors;      // param/STEP/NAME for every step, then state/KIND/NAME at the end
  std::int64_t skipped = 0;  // steps without a change: a gradient was not finite
  double update_norm = 0.0;  // of the last step
};

// Steps the rule from the recorded parameters over all gradients, as training does it: clipping,
// decay and roles as the configuration says. Rules draw what
// is recorded, or else from the seed. Deterministic. Memory: the parameters once per step.
// Throws InputError where the recorded draws or curvatures are not those that the rule takes.
Replay replay(const Recording& recording, const OptimizerConfig& config, std::uint64_t seed);

}  // namespace blockwise
