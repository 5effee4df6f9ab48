// The learning rate at which gradient descent on a quadratic with Hessian A converges fastest,
//   2 / (lambda_max + lambda_min)      (Polyak 1964; per block: Zhang et al., arXiv
//   2406.16793, 2.2)
// with lambda_max the largest |eigenvalue| and lambda_min the smallest one, 0 where it is negative:
// away from a saddle the rate is bounded by the largest curvature alone. Damping is added to both.
#pragma once

#include <cstdint>

#include "core/base/linear_operator.hpp"

namespace blockwise {

struct CurvatureEnds {
  double largest = 0.0;
  double smallest = 0.0;
  double error = 0.0;  // bound on that of their sum, from the residuals
  // Of the smallest alone: an eigenvalue lies this near, not always the smallest one, which is at
  // most `smallest`.
  double smallest_error = 0.0;
  std::int64_t products = 0;

  double sum(double damping) const;
  double best_rate(double damping) const;  // 0: no curvature at all
  // Of A with its negative eigenvalues taken as 0, damped by a share of the largest one:
  //   (1 + damping) / (max(smallest, 0) / largest + damping), at most 1 + 1 / damping.
  double condition(double damping) const;
  // By what share that may be larger because `smallest` is off by its error; 0 where it is not
  // positive, since the true one is not either; infinite where nothing bounds it.
  double condition_error(double damping) const;
};

struct CurvatureEndsOptions {
  double tolerance = 0.01;  // on error / sum(0)
  std::int64_t most_products = 60;
  std::uint64_t seed = 0;  // of the start
};

// Lanczos with full reorthogonalisation from a Gaussian start until the tolerance holds; exact for
// operators of up to most_products rows. Its ends are reached from inside: where the start lacks a
// direction its eigenvalue is not seen.
CurvatureEnds curvature_ends(const LinearOperator& a, const CurvatureEndsOptions& options);

}  // namespace blockwise
