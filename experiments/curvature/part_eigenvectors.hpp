// Which eigenvectors of a part are handed on.
#pragma once

#include <vector>

#include "experiments/curvature/part_measurement.hpp"
#include "hessian/dense.hpp"

namespace blockwise {

bool wants_eigenvectors(const MeasurementScope& scope);

// Of the pairs that were found at both ends the `vectors` with the largest |eigenvalue|, in that
// order, to the sink `eigenvectors`. Nothing where none are asked for.
void hand_on_eigenvectors(const MeasurementScope& scope, const PartMeasurement& work,
                          std::vector<RitzPair> pairs);

// Of a part that was made a matrix: its largest pairs, to that sink; `spectrum` is its whole
// eigensystem.
void hand_on_eigenvectors(const MeasurementScope& scope, const PartMeasurement& work,
                          const Eigensystem& spectrum);

}  // namespace blockwise
