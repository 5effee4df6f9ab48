// Gradients that are used as they appear: while a GradientRelease lives, a backward pass hands each
// parameter's gradient to a function as soon as it is whole, and frees it after. No more than the
// gradients of one operation exist at a time.
//
// The function may change the parameter: every operation that reads it in this backward pass has
// had its turn, tied tensors and checkpointed layers included, because LibTorch adds a leaf's
// gradient up before it counts as whole.
#pragma once

#include <functional>

#include "core/parameters/parameter_store.hpp"

namespace blockwise {

class GradientRelease {
 public:
  // Number of the parameter in the layout; its gradient in the parameter's shape and the masters'
  // type, which the function may overwrite.
  using Use = std::function<void(std::size_t parameter, const at::Tensor& gradient)>;

  // The store releases its gradients, and outlives this. One at a time.
  GradientRelease(const ParameterStore& store, Use use);
  ~GradientRelease();
  GradientRelease(const GradientRelease&) = delete;
  GradientRelease& operator=(const GradientRelease&) = delete;

 private:
  const ParameterStore& store_;
};

}  // namespace blockwise
