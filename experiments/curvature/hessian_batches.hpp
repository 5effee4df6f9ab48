// The examples whose mean loss is the function that is differentiated.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <vector>

#include "core/dataset.hpp"
#include "experiments/config/run_config.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

// batches * batch_size training examples: fixed, so that measurements along a run are of one
// function. In the order `sampled` the first of the run's own order, as its seed shuffles them; in
// the order `sequential` the first of the data: example i of a token file is its tokens i L .. i L
// + L - 1 for sequences of L, shard after shard, whatever the seed. Vectors in `dtype`. `sample` 1,
// 2, ... are the ones behind them. Throws InputError where sequential data end.
std::vector<Batch> hessian_batches(const HessianConfig& config, const Dataset& data,
                                   at::Device device, at::ScalarType dtype = at::kFloat,
                                   std::int64_t sample = 0);

// Throws InputError unless the data have the examples of `samples` samples.
void require_examples(const HessianConfig& config, const Dataset& data, std::int64_t samples = 1);

// Memory of products with config.hessian's matrix of the run's model on them: product_memory().
ProductMemory hessian_memory(const RunConfig& config, const Dataset& data);

}  // namespace blockwise
