// The model at the point where a partition is looked for, and its sections there.
#pragma once

#include <memory>
#include <vector>

#include "core/curvature.hpp"
#include "core/memory/tensors_in_file.hpp"
#include "experiments/partitions/discovery_plan.hpp"
#include "experiments/partitions/section_vectors.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

struct DiscoveryPoint {
  // Keeps references.
  DiscoveryPoint(const ResolvedDiscovery& discovery, const Ranks& ranks);

  // Of the batches of discovery.sample + `further`; one at a time.
  std::unique_ptr<Curvature> curvature(std::int64_t further = 0) const;
  // All matrices together.
  CurvatureOperator matrices(Curvature& curvature) const;

  const ResolvedDiscovery& discovery;
  const Ranks& ranks;
  at::Device device;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::unique_ptr<TensorsInFile> files;
  SectionVectors vectors;
};

}  // namespace blockwise
