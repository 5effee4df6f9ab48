#include "hessian/dense.hpp"

#include <ATen/ATen.h>

#include <Eigen/Eigenvalues>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solve(const at::Tensor& matrix, int what) {
  require_input(matrix.size(0) <= kLargestDense, "a dense matrix of {} rows, at most {} are solved",
                matrix.size(0), kLargestDense);
  const auto symmetric = (0.5 * (matrix + matrix.t())).to(at::kCPU, at::kDouble).contiguous();
  const Eigen::Map<const RowMajor> view(symmetric.data_ptr<double>(), matrix.size(0),
                                        matrix.size(1));
  return Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(view, what);
}

std::vector<double> values_of(const Eigen::VectorXd& values) {
  return {values.data(), values.data() + values.size()};
}

}  // namespace

at::Tensor to_dense(const LinearOperator& a) {
  require_input(a.columns() <= kLargestDense && a.rows() <= kLargestDense,
                "a dense matrix of {} x {}, at most {} rows and columns are formed", a.rows(),
                a.columns(), kLargestDense);
  auto matrix = at::empty({a.rows(), a.columns()}, at::kDouble);
  auto unit = at::zeros({a.columns()}, a.options());
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    unit[j] = 1.0;
    matrix.select(1, j).copy_(a(unit));
    unit[j] = 0.0;
  }
  return matrix;
}

Eigensystem symmetric_eigensystem(const at::Tensor& matrix) {
  const auto solver = solve(matrix, Eigen::ComputeEigenvectors);
  const auto n = matrix.size(0);
  auto vectors = at::empty({n, n}, at::kDouble);
  Eigen::Map<RowMajor>(vectors.data_ptr<double>(), n, n) = solver.eigenvectors();
  return {values_of(solver.eigenvalues()), vectors};
}

std::vector<double> symmetric_eigenvalues(const at::Tensor& matrix) {
  return values_of(solve(matrix, Eigen::EigenvaluesOnly).eigenvalues());
}

}  // namespace blockwise
