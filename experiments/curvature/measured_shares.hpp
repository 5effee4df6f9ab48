// How processes that measure curvature together share the parameters, with parallel.shard
// parameters: weights of layers are then with their owners, and differences are made of shares of
// gradients (core/shared_differences.hpp).
#pragma once

#include <cstdint>
#include <optional>

#include "core/parallel/owners.hpp"
#include "core/parameters/parameter_store.hpp"
#include "experiments/config/run_config.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

// Whether the run's processes do, rather than have all of them each: for differences of the Hessian
// of a model with layers.
bool measures_shares(const RunConfig& config, std::int64_t ranks);

// The weight units, each cut into even shares.
Owners measured_owners(const RunConfig& config, const ParameterLayout& layout, std::int64_t ranks);

// Of rank 0, which has the vectors, from the memory of a process that has everything. About: all
// ranks' buckets of gradients are counted beside the activations.
ProductMemory shared_product_memory(const ProductMemory& whole, const RunConfig& config,
                                    const ParameterLayout& layout, std::int64_t ranks);

}  // namespace blockwise
