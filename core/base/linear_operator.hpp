// LinearOperator: what everything spectral works on. Vectors are flat tensors [size()] of one dtype
// on one device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace blockwise {

class LinearOperator {
 public:
  virtual ~LinearOperator() = default;
  virtual std::int64_t rows() const = 0;     // length of the result
  virtual std::int64_t columns() const = 0;  // length of the argument
  virtual bool symmetric() const = 0;
  virtual at::TensorOptions options() const = 0;  // of the vectors
  // y [rows] = A x [columns]; y and x do not overlap.
  virtual void apply(const at::Tensor& x, const at::Tensor& y) const = 0;

  at::Tensor operator()(const at::Tensor& x) const;
};

// A matrix that is there, for tests and small truths. Symmetric as it says itself.
class DenseOperator : public LinearOperator {
 public:
  explicit DenseOperator(at::Tensor matrix);
  std::int64_t rows() const override { return matrix_.size(0); }
  std::int64_t columns() const override { return matrix_.size(1); }
  bool symmetric() const override { return symmetric_; }
  at::TensorOptions options() const override { return matrix_.options(); }
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  at::Tensor matrix_;
  bool symmetric_;
};

// A symmetric operator from a function, for tests and closed forms.
class FunctionOperator : public LinearOperator {
 public:
  using Function = std::function<at::Tensor(const at::Tensor&)>;
  FunctionOperator(std::int64_t size, at::TensorOptions options, Function function)
      : size_(size), options_(options), function_(std::move(function)) {}
  std::int64_t rows() const override { return size_; }
  std::int64_t columns() const override { return size_; }
  bool symmetric() const override { return true; }
  at::TensorOptions options() const override { return options_; }
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  std::int64_t size_;
  at::TensorOptions options_;
  Function function_;
};

}  // namespace blockwise
