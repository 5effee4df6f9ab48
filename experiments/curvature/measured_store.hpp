// The parameters at which curvature is measured.
#pragma once

#include <memory>

#include "core/parameters/parameter_store.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise {

// Those of model.from, or fresh ones from the run's seed; in float64 the same point as in float32.
// Tensors are read or drawn one by one: there is never a second model, whatever the precision.
// With `own` those alone, whose layers are collected as they are used.
std::unique_ptr<ParameterStore> measured_store(const RunConfig& config,
                                               const ParameterLayout& layout, at::Device device,
                                               const std::optional<OwnMasters>& own = {});

// Throws InputError where they and their gradients do not fit into memory: before anything of their
// size is made, plans included.
void require_measured_store(const RunConfig& config, const ParameterLayout& layout,
                            at::Device device);

}  // namespace blockwise
