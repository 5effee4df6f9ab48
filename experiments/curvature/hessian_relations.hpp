// What relates parts to each other and tensors to partitions.
#pragma once

#include "experiments/curvature/part_measurement.hpp"

namespace blockwise {

// ||H_ij||_F^2 of part j with every part i.
HessianRows coupling_column(const MeasurementScope& scope, std::size_t j);

// Of one tensor under every rule.
HessianRows tensor_energies(const MeasurementScope& scope, std::size_t tensor);

}  // namespace blockwise
