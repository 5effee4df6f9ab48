// What of a part is estimated from random vectors: traces of functions from the densities, trace
// and Frobenius norm, diagonal and row norms.
#pragma once

#include "experiments/curvature/part_probes.hpp"

namespace blockwise {

// As long as some function's standard error is above the share of its value that was asked for
// (`spectral.error`), and for the first 10 probes: the error of fewer is luck.
bool wants_probe(const MeasurementScope& scope, const PartGroup& group);

// tr f(H) = n mean of f over `density`, per function asked for. A spectrum that is not a density's
// but the truth has one probe and no error.
void record_functions(const MeasurementScope& scope, PartMeasurement& work,
                      const SpectralDensity& density);

// At most `trace.products` products.
void estimate_trace(const MeasurementScope& scope, PartMeasurement& work);

// At most `diagonal.products` products; results go to the sink `vectors`, without one nothing is
// made.
void estimate_vectors(const MeasurementScope& scope, PartMeasurement& work);

}  // namespace blockwise
