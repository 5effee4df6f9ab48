#include "experiments/second_moments.hpp"

#include <ATen/ATen.h>

#include "core/curvature.hpp"

namespace blockwise {

std::vector<at::Tensor> second_moments(const Model& model, ParameterStore& store,
                                       const Dataset& data, const HessianConfig& config,
                                       std::int64_t batches, const std::function<void()>& observe) {
  const auto device = store.device();
  std::vector<at::Tensor> moments(static_cast<std::size_t>(kMomentGroups));
  const auto each = std::max<std::int64_t>(1, batches / kMomentGroups);
  for (std::int64_t b = 0; b < each * kMomentGroups; ++b) {
    auto batch =
        data.training_examples((config.batches + b) * config.batch_size, config.batch_size);
    batch = {batch.inputs.to(device), batch.targets.to(device)};
    if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(config.dtype());
    Curvature one(model, store, {batch}, ProductMethod::fresh_graph);
    const auto squared = one.gradient().to(at::kCPU, at::kDouble).square() / double(each);
    auto& group = moments[static_cast<std::size_t>(b % kMomentGroups)];
    group = group.defined() ? group + squared : squared;
    observe();
  }
  return moments;
}

}  // namespace blockwise
