// The orthogonal factor of a matrix by a polynomial iteration, for Muon and its kin.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// x [m, n], not zero, of any floating-point type, which the products keep. With X = x / ||x||_F,
// transposed where m > n, `steps` times
//   A = X X^T,  X <- a X + (b A + c A^2) X,  (a, b, c) = (3.4445, -4.7750, 2.0315)
// (Jordan et al., "Muon", 2024: coefficients that push every singular value of [1e-3, 1] into about
// [0.7, 1.2] within five steps; they do not converge to 1, which training does not need).
// A norm below `eps` counts as that. Cost: 4 k^2 l + 2 k^3 multiplications and additions a step,
// k <= l the sides.
at::Tensor orthogonalized(const at::Tensor& x, std::int64_t steps, double eps = 1e-7);

}  // namespace blockwise
