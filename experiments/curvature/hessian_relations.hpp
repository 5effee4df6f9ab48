// What relates blocks to each other and tensors to partitions.
#pragma once

#include "experiments/curvature/block_measurement.hpp"

namespace blockwise {

// ||H_ij||_F^2 of block j with every block i.
HessianRows coupling_column(const MeasurementScope& scope, std::size_t j);

// Of one tensor under every rule.
HessianRows tensor_energies(const MeasurementScope& scope, std::size_t tensor);

}  // namespace blockwise
