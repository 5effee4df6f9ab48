// A part as a matrix.
#pragma once

#include "experiments/curvature/part_measurement.hpp"

namespace blockwise {

// Matrix (to the sink `matrix`), spectrum, trace, norm, functions and preconditioning without
// error: n products and O(n^3), 8 n^2 bytes.
void measure_exactly(const MeasurementScope& scope, MeasurementProgress& progress,
                     PartMeasurement& work);

}  // namespace blockwise
