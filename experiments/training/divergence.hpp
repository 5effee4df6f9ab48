// When the loss of a run says that it diverged.
#pragma once

#include <cstdint>
#include <string>

#include "experiments/config/run_config.hpp"

namespace blockwise {

// What a run's loss is compared with, in nats per target.
struct DivergenceScale {
  double first_loss = 0.0;  // of the first step in the run's file; 0 before there is one
  std::int64_t classes = 1;

  // max(|first loss|, log classes): what a model says that knows nothing, or this one at its start.
  double value() const;
};

// A training loss above this is divergence: trainer.divergence_loss where it is set, otherwise
// trainer.divergence_factor times the scale; infinity where both are 0.
//
// The default factor of 100 is crossed by no run that is worth going on: the loss of a spike or of
// a rate at the edge of stability comes back from a few times log(classes), while a mean loss of
// 100 log(classes) means that logits of 100 log(classes) stand against the targets.
double divergence_bound(const TrainerConfig& trainer, const DivergenceScale& scale);

// Why a step's loss or gradient is divergence; empty where it is none.
std::string divergence_reason(const TrainerConfig& trainer, const DivergenceScale& scale,
                              double loss, double gradient_norm);

}  // namespace blockwise
