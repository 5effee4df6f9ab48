// Work that ends between two products when a stop was asked for.
#pragma once

#include <functional>

#include "hessian/curvature_operators.hpp"

namespace blockwise {

// Thrown where there is nothing to save on the spot. No std::exception, because nothing failed:
// whoever started the work catches it and says that it was stopped.
struct Stopped {};

// An operator whose next product is not begun once `stop` says true: throws Stopped. Loops that
// keep a state ask for themselves, after each product, and save it; this ends all others.
class StoppableOperator : public DerivedOperator {
 public:
  StoppableOperator(const LinearOperator& base, std::function<bool()> stop)
      : DerivedOperator(base), stop_(std::move(stop)) {}
  void apply(const at::Tensor& x, const at::Tensor& y) const override {
    if (stop_ && stop_()) throw Stopped();
    base_.apply(x, y);
  }

 private:
  std::function<bool()> stop_;
};

}  // namespace blockwise
