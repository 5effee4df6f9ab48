#include "core/base/linear_operator.hpp"

#include <ATen/ATen.h>

namespace blockwise {

at::Tensor LinearOperator::operator()(const at::Tensor& x) const {
  auto y = at::empty({rows()}, options());
  apply(x, y);
  return y;
}

DenseOperator::DenseOperator(at::Tensor matrix)
    : matrix_(std::move(matrix)),
      symmetric_(matrix_.size(0) == matrix_.size(1) && at::equal(matrix_, matrix_.t())) {}

void DenseOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  y.copy_(matrix_.mv(x));
}

void FunctionOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  y.copy_(function_(x));
}

}  // namespace blockwise
