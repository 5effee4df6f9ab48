#include "experiments/curvature/work_meter.hpp"

#include "hessian/product_memory.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {

WorkCount& WorkCount::operator+=(const WorkCount& other) {
  products += other.products;
  passes += other.passes;
  calibrations += other.calibrations;
  examples += other.examples;
  units += other.units;
  return *this;
}

double work_cost(const WorkCount& work, const HessianConfig& config) {
  const auto method = config.product_method();
  return double(work.passes) * product_cost(method, config.curvature_kind()) +
         double(work.calibrations) * calibration_cost(method) +
         double(work.examples) / (double(config.batches) * double(config.batch_size));
}

void WorkMeter::advance(const std::string& what, std::int64_t units) {
  for (std::int64_t i = 0; i < units; ++i) observe_(++done_.units, what);
}

void WorkMeter::require_going() const {
  if (stop_()) throw Stopped();
}

void MeteredOperator::apply(const at::Tensor& x, const at::Tensor& y) const {
  meter_.require_going();
  base_.apply(x, y);
  meter_.count({1, passes_, calibrated_ ? 0 : passes_, 0, 0});
  calibrated_ = true;
}

}  // namespace blockwise
