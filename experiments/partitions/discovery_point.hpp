// The model at the point where a partition is looked for.
#pragma once

#include <memory>

#include "core/curvature.hpp"
#include "experiments/partitions/discovery_plan.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

struct DiscoveryPoint {
  explicit DiscoveryPoint(const ResolvedDiscovery& discovery);

  // Of the batches of discovery.sample + `further`.
  std::unique_ptr<Curvature> curvature(std::int64_t further = 0) const;
  // All matrices together.
  CurvatureOperator matrices(Curvature& curvature) const;

  const ResolvedDiscovery& discovery;
  at::Device device;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
};

}  // namespace blockwise
