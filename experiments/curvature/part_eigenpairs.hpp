// A part's extreme eigenpairs by a solver of their own, instead of from the probes' Lanczos.
#pragma once

#include "experiments/curvature/part_measurement.hpp"

namespace blockwise {

// Thick restart or Spectra, as `pairs.solver` says; adds rows and products. Returns false where it
// was stopped; thick restart leaves its state and goes on with the same bits, Spectra starts again.
bool find_eigenpairs(const MeasurementScope& scope, PartMeasurement& work);

}  // namespace blockwise
