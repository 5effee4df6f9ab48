// The work of a measurement: what it will come to and, in the same units, what it has come to.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/stop_query.hpp"
#include "experiments/config/hessian_config.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

struct WorkCount {
  std::int64_t products = 0;      // with an operator
  std::int64_t passes = 0;        // with the model: a product with the parts of n tensors has n
  std::int64_t calibrations = 0;  // operators whose differences look for a step
  std::int64_t examples = 0;      // whose gradients are taken
  std::int64_t units = 0;         // of progress

  WorkCount& operator+=(const WorkCount& other);
  bool operator==(const WorkCount&) const = default;
};

// In gradients of the loss over the Hessian's examples, as core/curvature.hpp counts.
double work_cost(const WorkCount& work, const HessianConfig& config);

// After every unit of progress: units done, and what for.
using WorkObserver = std::function<void(std::int64_t, const std::string&)>;

// Counts work as it is done, tells an observer, and ends it where a stop is asked for.
class WorkMeter {
 public:
  WorkMeter(WorkObserver observe, StopQuery stop)
      : observe_(std::move(observe)), stop_(std::move(stop)) {}

  // Units of progress, told one by one.
  void advance(const std::string& what, std::int64_t units = 1);
  void count(const WorkCount& work) { done_ += work; }
  bool stopped() const { return stop_(); }
  const StopQuery& stop() const { return stop_; }
  // Throws Stopped (hessian/stoppable_operator.hpp) where a stop is asked for.
  void require_going() const;
  const WorkCount& done() const { return done_; }

 private:
  WorkObserver observe_;
  StopQuery stop_;
  WorkCount done_;
};

// An operator whose products are counted, none of which begins once a stop is asked for: throws
// Stopped. `passes` as WorkCount has them.
class MeteredOperator : public DerivedOperator {
 public:
  MeteredOperator(const LinearOperator& base, WorkMeter& meter, std::int64_t passes = 1)
      : DerivedOperator(base), meter_(meter), passes_(passes) {}
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  WorkMeter& meter_;
  std::int64_t passes_;
  mutable bool calibrated_ = false;
};

}  // namespace blockwise
