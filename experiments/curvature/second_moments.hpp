// Independent estimates of the second moment of the gradient, E g^2, at one point. It is that of
// the batch that g is the gradient of: E g^2 = (E g)^2 + Var(g of one example) / examples.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "core/dataset.hpp"
#include "core/model.hpp"
#include "experiments/config/run_config.hpp"
#include "experiments/curvature/stoppable_operator.hpp"

namespace blockwise {

inline constexpr std::int64_t kMomentGroups = 4;

// Batches of training examples in hessian.order, one behind the other. A batch's gradient is the
// mean over all its targets that count, as a run accumulates it from micro-batches; dropout is off
// and nothing is clipped.
struct MomentBatches {
  std::int64_t count = 0;  // rounded down to a multiple of the groups, one each at least
  std::int64_t first = 0;  // example of the order
  std::int64_t micro_batches = 1, micro_batch_size = 1;
  std::int64_t at_a_time = 1;  // examples per forward pass, which says what memory it takes
  ExampleOrder order = ExampleOrder::sampled;

  std::int64_t size() const { return micro_batches * micro_batch_size; }  // examples of one
  std::int64_t of_group() const { return std::max<std::int64_t>(1, count / kMomentGroups); }
};

// `count` batches of hessian.batch_size, behind those of the Hessian.
MomentBatches hessian_moment_batches(const HessianConfig& config, std::int64_t count);

// `count` batches as the run's optimizer sees them, of trainer.global_batch_tokens: the first ones
// of its order that the Hessian's batches do not reach into. Throws InputError where
// global_batch_tokens is no multiple of a micro-batch. hessian.batch_size examples at a time.
MomentBatches run_moment_batches(const RunConfig& config, std::int64_t sequence_length,
                                 std::int64_t count);

// Throws InputError where sequential data end before the last batch.
void require_moment_examples(const MomentBatches& batches, const Dataset& data);

// For people: how many gradients, of how many examples each.
std::string moment_text(const MomentBatches& batches);

// kMomentGroups means of the squared gradient [parameters], float64 on the host. A batch in which a
// mask leaves no target has no gradient: it is left out, and counted. Throws InputError where a
// group has no batch left, and Stopped before a micro-batch's gradient where the watch's stop says
// so; tells after every batch.
struct MomentSource {
  const Model& model;
  ParameterStore& store;
  const Dataset& data;
};
struct SecondMoments {
  std::vector<at::Tensor> groups;
  std::int64_t left_out = 0;
};
SecondMoments second_moments(const MomentSource& source, const MomentBatches& batches,
                             const WorkWatch& watch);

}  // namespace blockwise
