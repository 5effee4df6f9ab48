// Exact small truths: an operator as a matrix, and its eigenvalues.
#pragma once

#include <vector>

#include "core/base/linear_operator.hpp"

namespace blockwise {

// Largest size that to_dense() and eigenvalues() accept: 5,000^2 doubles are 200 MB.
inline constexpr std::int64_t kLargestDense = 5000;

// [rows, columns] in float64 on the CPU, column by column: `columns` products. Throws InputError
// above kLargestDense.
at::Tensor to_dense(const LinearOperator& a);

struct Eigensystem {
  std::vector<double> values;  // ascending
  at::Tensor vectors;          // [n, n] float64, column i belongs to value i
};

// Of (A + A^T) / 2 in float64, through Eigen.
Eigensystem symmetric_eigensystem(const at::Tensor& matrix);
std::vector<double> symmetric_eigenvalues(const at::Tensor& matrix);

}  // namespace blockwise
