#include "experiments/partitions/discovery_point.hpp"

#include "core/memory/device.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/measured_store.hpp"

namespace blockwise {

DiscoveryPoint::DiscoveryPoint(const ResolvedDiscovery& d)
    : discovery(d),
      device(resolve_device(d.config.trainer.device)),
      store(measured_store(d.config, d.layout, device)),
      model(d.config.model.spec->build(*store)) {}

std::unique_ptr<Curvature> DiscoveryPoint::curvature(std::int64_t further) const {
  const auto& h = discovery.config.hessian;
  const auto sample = discovery.config.discovery.sample + further;
  return std::make_unique<Curvature>(*model, *store,
                                     hessian_batches(h, *discovery.data, device, h.dtype(), sample),
                                     h.product_method());
}

CurvatureOperator DiscoveryPoint::matrices(Curvature& curvature) const {
  return {curvature, discovery.config.hessian.curvature_kind(),
          ParameterSubset(discovery.layout, searched_tensors(discovery.layout))};
}

}  // namespace blockwise
