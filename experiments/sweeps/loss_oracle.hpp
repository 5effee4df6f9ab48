// What a search that is judged by the loss asks: final losses of alternatives, paired by seed. In
// the product training runs answer (training_oracle.hpp), in tests a formula.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"

namespace blockwise {

// One alternative. Arms with equal ids are the same configuration.
struct Arm {
  std::string id;  // a valid folder name
  RunConfig config;
};

// An arm with one seed; trials of several arms with one seed are a pair: the same start, the same
// batches.
struct Trial {
  Arm arm;
  std::int64_t seed = 1;
};

// Nats, of the validation set at the trial's end. Nothing: the trial diverged.
using TrialLoss = std::optional<double>;

class LossOracle {
 public:
  virtual ~LossOracle() = default;

  // The losses of these trials, in their order. Nothing where a stop came before all of them were
  // known; those that were are kept, and the same question asked again goes on with the rest. A
  // trial has one answer, whoever asks and however often. Throws std::runtime_error where a trial
  // fails.
  virtual std::optional<std::vector<TrialLoss>> ask(const std::vector<Trial>& trials) = 0;
};

}  // namespace blockwise
