// What a rule sees of one step: what is common to all parameters, and one parameter.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/partition/block_rates.hpp"
#include "core/partition/partition.hpp"
#include "optimizers/kernels/adam.hpp"
#include "optimizers/state/state.hpp"

namespace blockwise {

class GivenDraws;

struct StepScope {
  std::int64_t step = 0;        // 1 at the first step
  double learning_rate = 0.0;   // scheduled
  double gradient_scale = 1.0;  // the clipping factor, applied to the gradient as it is read
  std::uint64_t seed = 0;       // of what a rule draws; see core/base/random_stream.hpp
  kernels::Workspace& space;
  GivenDraws* draws = nullptr;  // in the place of what the seed gives; see random_draws.hpp
  std::int64_t layers = 0;      // of the model's stack
};

struct ParameterStep {
  const Parameter& parameter;
  // Which elements share a second moment, where the rule follows one, and a learning rate.
  const TensorPartition& partition;
  at::Tensor weight;    // [shape], updated in place
  at::Tensor gradient;  // [shape]
  State state;
  double weight_decay = 0.0;  // 0 for tensors that are exempt
  // Factors of the learning rate by section of the partition; null for 1 everywhere.
  const std::vector<SectionRates>* rates = nullptr;
  // Its first element in the flat buffer of the whole model, which tells its draws from others'.
  std::int64_t first_element = 0;
  // What FusedStep::sum_squares() wrote of this gradient; null: nothing.
  const double* squares = nullptr;
};

}  // namespace blockwise
