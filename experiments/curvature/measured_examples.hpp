// Which examples a measurement is of, for the file.
#pragma once

#include "experiments/config/hessian_config.hpp"
#include "experiments/records/measured_objects.hpp"

namespace blockwise {

// Those of hessian_batches(), in their order.
MeasuredExamples measured_examples(const HessianConfig& config, const Dataset& data);

}  // namespace blockwise
