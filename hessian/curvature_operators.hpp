// The curvature of a loss as operators: whole, one block, an off-diagonal block, the block-diagonal
// part. One product each, see core/curvature.hpp for costs.
#pragma once

#include <vector>

#include "core/base/linear_operator.hpp"
#include "core/curvature.hpp"

namespace blockwise {

enum class CurvatureKind { hessian, gauss_newton, fisher };

// Before products with matrices of this kind alone.
inline void measure_only(CurvatureKind kind, Curvature& curvature) {
  if (kind != CurvatureKind::hessian) curvature.leave_out_hessian_graphs();
}

// A[s, s] for the tensors of a subset.
class CurvatureOperator : public LinearOperator {
 public:
  CurvatureOperator(Curvature& curvature, CurvatureKind kind, ParameterSubset subset);
  std::int64_t rows() const override { return subset_.size(); }
  std::int64_t columns() const override { return subset_.size(); }
  bool symmetric() const override { return true; }
  at::TensorOptions options() const override;
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  Curvature& curvature_;
  CurvatureKind kind_;
  ParameterSubset subset_;
};

// ---- operators made of an operator --------------------------------------------------------------

// An operator of the size of another one, to which it keeps a reference; symmetric where that is.
class DerivedOperator : public LinearOperator {
 public:
  std::int64_t rows() const override { return base_.rows(); }
  std::int64_t columns() const override { return base_.columns(); }
  bool symmetric() const override { return base_.symmetric(); }
  at::TensorOptions options() const override { return base_.options(); }

 protected:
  explicit DerivedOperator(const LinearOperator& base) : base_(base) {}
  const LinearOperator& base_;
};

// D A D with D = diag(d): what an optimizer that divides by 1 / d^2 sees. For Adam
// d = (sqrt(v) + eps)^(-1/2).
class ScaledOperator : public DerivedOperator {
 public:
  ScaledOperator(const LinearOperator& base, at::Tensor d)
      : DerivedOperator(base), scaling_(std::move(d)) {}
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  at::Tensor scaling_;
};

// A[index, index]: the rows and columns of some elements, for example those of one head. One
// product of the whole.
class RestrictedOperator : public DerivedOperator {
 public:
  // index: int64 [k], distinct, on the vectors' device.
  RestrictedOperator(const LinearOperator& base, at::Tensor index)
      : DerivedOperator(base), index_(std::move(index)) {}
  std::int64_t rows() const override { return index_.size(0); }
  std::int64_t columns() const override { return index_.size(0); }
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  at::Tensor index_;
};

// The block-diagonal part of the Hessian for a list of disjoint subsets: block by block, each costs
// what its own tensors need.
class BlockDiagonalOperator : public LinearOperator {
 public:
  BlockDiagonalOperator(Curvature& curvature, CurvatureKind kind,
                        const std::vector<ParameterSubset>& blocks);
  std::int64_t rows() const override { return size_; }
  std::int64_t columns() const override { return size_; }
  bool symmetric() const override { return true; }
  at::TensorOptions options() const override { return blocks_.front().options(); }
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  std::vector<CurvatureOperator> blocks_;
  std::int64_t size_ = 0;
};

}  // namespace blockwise
