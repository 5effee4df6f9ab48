// The orthogonal factor of a matrix by a polynomial iteration, for Muon and its kin.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace blockwise {

// The coefficients of the steps; the last ones are repeated where there are more steps. Where they
// take singular values of [0.01, 1] after so many steps:
//   jordan         5: [0.68, 1.13]    the same at every step (Jordan et al., "Muon", 2024); they do
//                                     not converge to 1, which training does not need
//   dion           5: [0.978, 1.032]  of the repository of Dion (Ahn et al., arXiv 2504.05295)
//   polar_express  5: [0.86, 1.14]    of that repository's default, after Amsel et al., arXiv
//                                     2505.16932; the norm is taken 2 % larger
//   quintic       12: 1               2 X - 3/2 X^3 + 1/2 X^5, which converges
struct PolarSteps {
  struct Coefficients {
    double a, b, c;
  };
  std::vector<Coefficients> steps;
  double norm = 1.0;  // factor of the norm by which X is divided

  const Coefficients& at(std::int64_t step) const;
};
std::vector<std::string> polar_steps_names();
// Throws InputError for another name.
const PolarSteps& polar_steps(const std::string& name);

// x [m, n], not zero, or a stack of such matrices, [number, m, n], which become orthogonal each for
// itself; of any floating-point type, which the products keep. With X = x / ||x||_F,
// transposed where m > n, `count` times
//   A = X X^T,  X <- a X + (b A + c A^2) X
// A norm below `eps` counts as that. Cost: 4 k^2 l + 2 k^3 multiplications and additions a step,
// k <= l the sides.
at::Tensor orthogonalized(const at::Tensor& x, const PolarSteps& steps, std::int64_t count,
                          double eps = 1e-7);

}  // namespace blockwise
