// Work that ends between two products when a stop was asked for.
#pragma once

#include <functional>
#include <utility>

#include "core/base/stop_query.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

// Thrown where there is nothing to save on the spot. No std::exception, because nothing failed:
// whoever started the work catches it and says that it was stopped.
struct Stopped {};

// What work asks before each of its units (a product, a gradient) and tells after it; either may be
// empty.
struct WorkWatch {
  StopQuery stop;
  std::function<void()> done;

  void leave_if_stopped() const {
    if (stop && stop()) throw Stopped();
  }
  void tell() const {
    if (done) done();
  }
};

// An operator whose next product is not begun once `stop` says true: throws Stopped. Loops that
// keep a state ask for themselves, after each product, and save it; this ends all others. Tells
// after each product, too, where it is given a watch.
class StoppableOperator : public DerivedOperator {
 public:
  StoppableOperator(const LinearOperator& base, StopQuery stop)
      : StoppableOperator(base, WorkWatch{std::move(stop), {}}) {}
  StoppableOperator(const LinearOperator& base, WorkWatch watch)
      : DerivedOperator(base), watch_(std::move(watch)) {}
  void apply(const at::Tensor& x, const at::Tensor& y) const override {
    watch_.leave_if_stopped();
    base_.apply(x, y);
    watch_.tell();
  }

 private:
  WorkWatch watch_;
};

}  // namespace blockwise
