#include "experiments/config/run_data.hpp"

namespace blockwise {

void assume_vocabulary(RunConfig& config) {
  if (config.model.from.empty()) return;
  const auto layout = config.model.spec->layout();
  for (const auto& parameter : layout.parameters()) {
    if (parameter.role != ParameterRole::token_embedding) continue;
    return config.data.spec->assume_classes(parameter.rows());
  }
}

std::shared_ptr<const Dataset> open_data(RunConfig& config) {
  assume_vocabulary(config);
  std::shared_ptr<const Dataset> data =
      config.data.spec->open(static_cast<std::uint64_t>(config.seed));
  config.model.spec->adapt_to(data->shape());
  return data;
}

}  // namespace blockwise
