#include "experiments/partitions/discovery_point.hpp"

#include "core/memory/device.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/led_work.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/curvature/vectors_in_files.hpp"
#include "experiments/partitions/section_candidates.hpp"

namespace blockwise {

DiscoveryPoint::DiscoveryPoint(const ResolvedDiscovery& at, const Ranks& shared_by)
    : discovery(at),
      ranks(shared_by),
      device(resolve_device(at.config.trainer.device)),
      store(measured_store(at.config, at.layout, device)),
      model(at.config.model.spec->build(*store)),
      files(vectors_in_files(at.config, at.layout)),
      vectors(at.layout, at.config.discovery, all_sections(at.config.discovery, at.layout)) {}

std::unique_ptr<Curvature> DiscoveryPoint::curvature(std::int64_t further) const {
  const auto& hessian = discovery.config.hessian;
  const auto sample = discovery.config.discovery.sample + further;
  auto batches = hessian_batches(hessian, *discovery.data, device, hessian.dtype(), sample);
  if (ranks.is_first()) lead_curvature(ranks, further);
  auto curvature = std::make_unique<Curvature>(*model, *store, std::move(batches),
                                               hessian.product_method(), ranks);
  measure_only(hessian.curvature_kind(), *curvature);
  return curvature;
}

CurvatureOperator DiscoveryPoint::matrices(Curvature& curvature) const {
  return {curvature, discovery.config.hessian.curvature_kind(),
          ParameterSubset(discovery.layout, searched_tensors(discovery.layout))};
}

}  // namespace blockwise
