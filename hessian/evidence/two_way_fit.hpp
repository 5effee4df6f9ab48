// Row and column effects of a matrix of which some elements are missing.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// x, used: [rows, columns] float64; used is 1 where the element counts and 0 where it is missing. A
// row or column without any element has effect 0. Both go by turns over rows and columns until
// nothing moves; where none is missing, or whole rows and columns are, the first turn is exact.

// r_i + c_j that leaves the smallest sum of squares.
at::Tensor additive_fit(const at::Tensor& x, const at::Tensor& used);

// r_i c_j whose row and column sums over the elements that count are those of x >= 0; without
// missing ones (row sum) (column sum) / sum, as Shazeer and Stern 2018 (arXiv 1804.04235) have it.
at::Tensor multiplicative_fit(const at::Tensor& x, const at::Tensor& used);

}  // namespace blockwise
