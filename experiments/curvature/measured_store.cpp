#include "experiments/curvature/measured_store.hpp"

#include <ATen/ATen.h>

#include "core/base/checked_math.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/model_source.hpp"

namespace blockwise {

std::unique_ptr<ParameterStore> measured_store(const RunConfig& config,
                                               const ParameterLayout& layout, at::Device device,
                                               const std::optional<OwnMasters>& own) {
  const auto gradients = own ? Gradients::released : Gradients::kept;
  auto store = std::make_unique<ParameterStore>(layout, device, config.hessian.dtype(),
                                                std::nullopt, gradients, own);
  if (config.model.from.empty()) {
    store->initialize(static_cast<std::uint64_t>(config.seed));
  } else {
    const auto source = open_model(config.model.from);
    print_notes(source);
    source.load(*store);
  }
  return store;
}

void require_measured_store(const RunConfig& config, const ParameterLayout& layout,
                            at::Device device) {
  const auto width = static_cast<std::int64_t>(at::elementSize(config.hessian.dtype()));
  require_available(checked_product("bytes of the model", {2, width, layout.size()}), device,
                    fmt::format("a model of {} parameters", layout.size()));
}

}  // namespace blockwise
