#include "experiments/config/run_data.hpp"

#include "core/io/input_file.hpp"

namespace blockwise {

void assume_vocabulary(RunConfig& config) {
  if (config.model.from.empty()) return;
  const auto layout = config.model.spec->layout();
  for (const auto& parameter : layout.parameters()) {
    if (parameter.role != ParameterRole::token_embedding) continue;
    return config.data.spec->assume_classes(parameter.rows());
  }
}

// A model that states its own sizes does not need the data.
DataShape adapt_to_stated_data(RunConfig& config) {
  assume_vocabulary(config);
  auto shape = config.data.spec->stated_shape();
  const auto folder = config.data.spec->folder();
  if (shape.classes == 0 && !folder.empty() && input_exists(folder)) {
    shape = config.data.spec->open(static_cast<std::uint64_t>(config.seed))->shape();
  }
  config.model.spec->adapt_to(shape);
  return shape;
}

std::shared_ptr<const Dataset> open_data(RunConfig& config) {
  assume_vocabulary(config);
  std::shared_ptr<const Dataset> data =
      config.data.spec->open(static_cast<std::uint64_t>(config.seed));
  config.model.spec->adapt_to(data->shape());
  return data;
}

}  // namespace blockwise
