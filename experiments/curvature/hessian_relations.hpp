// What relates blocks to each other and tensors to partitions.
#pragma once

#include "experiments/curvature/hessian_measurement.hpp"
#include "experiments/curvature/stoppable_operator.hpp"

namespace blockwise {

std::uint64_t probe_seed(const HessianConfig& config);

// Asks for a stop before every product (Stopped) and tells after it; the sums of products are the
// caller's.
class ObservedOperator : public DerivedOperator {
 public:
  ObservedOperator(const LinearOperator& base, const MeasurementSinks& sinks, std::string what)
      : DerivedOperator(base), sinks_(sinks), what_(std::move(what)) {}
  void apply(const at::Tensor& x, const at::Tensor& y) const override;

 private:
  const MeasurementSinks& sinks_;
  std::string what_;
};

// Throws Stopped where a stop is asked for: before every product.
void leave_if_stopped(const MeasurementSinks& sinks);

// ||H_ij||_F^2 of block j with every block i.
HessianRows coupling_column(const HessianConfig& config, const std::vector<HessianBlock>& blocks,
                            Curvature& curvature, std::int64_t step, std::size_t j,
                            const MeasurementSinks& sinks);

// Of one tensor under every rule.
HessianRows tensor_energies(const HessianConfig& config, const std::vector<std::string>& rules,
                            Curvature& curvature, std::int64_t step, std::size_t tensor,
                            const MeasurementSinks& sinks);

}  // namespace blockwise
