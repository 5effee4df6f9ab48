// What m Lanczos steps leave open about an integral over the spectrum.
//
// T and the last beta fix the moments 0 to 2m of the measure mu of q^T delta(A - x) q. All measures
// with these moments integrate polynomials up to degree 2m - 1 as the Gauss quadrature does; others
// they do not. Among them are the canonical representations (Krein; Karlin and Studden 1966): m + 1
// nodes, one of which, xi, may be chosen anywhere. They are the eigenvalues of T with one more row,
//   [ T          beta e_m ]
//   [ beta e_m^T    a     ],     a = xi - sum of b_i^2 / (xi - theta_i),
// theta_i the eigenvalues of T and b_i = beta s_mi. For xi at an end of the spectrum that is the
// Gauss-Radau rule, which with Gauss's bounds 1 / x, log x and the like on both sides (Golub and
// Meurant 2010); for a step at xi the bounds of Chebyshev, Markov and Stieltjes are theirs. For a
// function with a peak, dip, cusp or step at a point the extremes are looked for among them.
#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "hessian/lanczos.hpp"

namespace blockwise {

struct Quadrature {
  std::vector<double> nodes;      // ascending
  std::vector<double> weights;    // sum to 1
  std::vector<double> residuals;  // |b_i|, 0: an eigenvalue; empty: not known
};

// Gauss's, of a Lanczos process.
Quadrature gauss_quadrature(const Tridiagonal& t);

// The canonical representation with a node at xi, which is no node of `gauss`. Cost: O(m^2).
// Nodes with a residual below 1e-13 of the largest |node| stay as they are.
Quadrature with_node(const Quadrature& gauss, double xi);

struct QuadratureBounds {
  double value = 0.0;            // Gauss's
  double low = 0.0, high = 0.0;  // of the canonical representations; NaN: residuals not known
};

// Of the integral of f, which is smooth but at the point `rough`, over representations with a node
// there and with nodes at 9 places of the gap around it. Those with a node below `smallest`, where
// the spectrum is known to end, are left out.
QuadratureBounds integral_bounds(const Quadrature& gauss, const std::function<double(double)>& f,
                                 double rough,
                                 double smallest = -std::numeric_limits<double>::infinity());

}  // namespace blockwise
