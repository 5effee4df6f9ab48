// The examples whose mean loss is the function that is differentiated.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <vector>

#include "core/dataset.hpp"
#include "experiments/hessian_config.hpp"

namespace blockwise {

// The first batches * batch_size training examples of the run's order: fixed, so that measurements
// along a run are of one function. Vectors in `dtype`.
// `sample` 1, 2, ... are the ones behind them.
std::vector<Batch> hessian_batches(const HessianConfig& config, const Dataset& data,
                                   at::Device device, at::ScalarType dtype = at::kFloat,
                                   std::int64_t sample = 0);

// One of them as sizes only, on the meta device.
Batch hessian_batch_shape(const HessianConfig& config, const Dataset& data,
                          at::ScalarType dtype = at::kFloat);

}  // namespace blockwise
