// Which eigenvectors of a block are handed on.
#pragma once

#include <vector>

#include "experiments/curvature/block_measurement.hpp"
#include "hessian/dense.hpp"

namespace blockwise {

// Of the pairs that were found at both ends the `vectors` with the largest |eigenvalue|, in that
// order, to the sink `eigenvectors`. Nothing where none are asked for.
void hand_on_eigenvectors(const MeasurementScope& scope, const BlockMeasurement& work,
                          std::vector<RitzPair> pairs);

// The same of a block that was made a matrix; `spectrum` is its whole eigensystem.
void hand_on_eigenvectors(const MeasurementScope& scope, const BlockMeasurement& work,
                          const Eigensystem& spectrum);

}  // namespace blockwise
