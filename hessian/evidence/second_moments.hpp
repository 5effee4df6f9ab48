// Independent estimates of the second moment of the gradient, E g^2, at one point. It is that of
// the batch that g is the gradient of: E g^2 = (E g)^2 + Var(g of one example) / examples.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "core/dataset.hpp"
#include "core/model.hpp"
#include "core/parallel/ranks.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {

inline constexpr std::int64_t kMomentGroups = 4;

// Batches of training examples in one order, one behind the other. A batch's gradient is the
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

// kMomentGroups means of the squared gradient [parameters], float64 on the host. A batch in which a
// mask leaves no target has no gradient: it is left out, and counted. Throws InputError where a
// group has no batch left, and Stopped before a micro-batch's gradient where the watch's stop says
// so; tells after every batch. Several processes share the batches by turns, ask rank 0's stop once
// for a batch of each, and have all of the sums, which differ from those of one by rounding.
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
                             const WorkWatch& watch, const Ranks& ranks = Ranks());

}  // namespace blockwise
