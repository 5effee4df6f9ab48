#include "hessian/curvature_operators.hpp"

#include <ATen/ATen.h>

namespace blockwise {

CurvatureOperator::CurvatureOperator(Curvature& curvature, CurvatureKind kind,
                                     ParameterSubset subset)
    : curvature_(curvature), kind_(kind), subset_(std::move(subset)) {}

at::TensorOptions CurvatureOperator::options() const { return curvature_.store().master_options(); }

void CurvatureOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  switch (kind_) {
    case CurvatureKind::hessian:
      return curvature_.hessian_product(subset_, x, subset_, y);
    case CurvatureKind::gauss_newton:
      return curvature_.gauss_newton_product(subset_, x, y);
    case CurvatureKind::fisher:
      return curvature_.fisher_product(subset_, x, y);
  }
}

void ScaledOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  base_.apply(scaling_ * x, y);
  y.mul_(scaling_);
}

void RestrictedOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  auto whole = at::zeros({base_.columns()}, base_.options());
  whole.index_copy_(0, index_, x);
  y.copy_(base_(whole).index_select(0, index_));
}

BlockDiagonalOperator::BlockDiagonalOperator(Curvature& curvature, CurvatureKind kind,
                                             const std::vector<ParameterSubset>& blocks) {
  for (const auto& block : blocks) {
    blocks_.emplace_back(curvature, kind, block);
    size_ += block.size();
  }
}

void BlockDiagonalOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  std::int64_t begin = 0;
  for (const auto& block : blocks_) {
    block.apply(x.narrow(0, begin, block.columns()), y.narrow(0, begin, block.rows()));
    begin += block.rows();
  }
}

}  // namespace blockwise
