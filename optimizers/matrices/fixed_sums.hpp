// Sums of large tensors in an order that follows from the shape alone. LibTorch's own split a sum
// by the number of threads, and a step would depend on it.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// Of all elements, in double: 0-d.
at::Tensor fixed_sum(const at::Tensor& x);
// sqrt(mean x^2) and sqrt(sum x^2), 0-d of float64.
at::Tensor root_mean_square(const at::Tensor& x);
at::Tensor fixed_norm(const at::Tensor& x);
// x [rows, columns], or a stack of such matrices with leading axes, which results then have, too.
// Sums of all elements of each matrix, in double: 0-d for one.
at::Tensor matrix_sums(const at::Tensor& x);
// sqrt(sum x^2) of each matrix in double, [1, 1].
at::Tensor matrix_norms(const at::Tensor& x);
// Sums over the columns, [rows].
at::Tensor row_sums(const at::Tensor& x);
// Means over the columns, [rows, 1], and over the rows, [1, columns]. The second copies
// x.
at::Tensor row_means(const at::Tensor& x);
at::Tensor column_means(const at::Tensor& x);
// Euclidean norms of the rows, [rows, 1], and of the columns, [1, columns].
at::Tensor row_norms(const at::Tensor& x);
at::Tensor column_norms(const at::Tensor& x);

}  // namespace blockwise
