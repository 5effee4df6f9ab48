// What Adam's diagonal does to a part's condition number: D H D with D = (sqrt(v) + eps)^(-1/2),
// v = g^2 at this point, eps = 1e-8. D H D has the eigenvalues of (sqrt(v) + eps)^(-1) H.
#pragma once

#include "experiments/curvature/part_measurement.hpp"

namespace blockwise {

// From as many probes as the part's density has, with 5 % of the quadrature's weight around zero
// left out; kDiagonalProducts more for the diagonal's share of ||H||^2.
void estimate_preconditioning(const MeasurementScope& scope, PartMeasurement& work);

// From the matrix, [n, n] float64 on the CPU, and its `spectrum`. O(n^3).
void exact_preconditioning(const MeasurementScope& scope, PartMeasurement& work,
                           const at::Tensor& matrix, const Quadrature& spectrum);

}  // namespace blockwise
