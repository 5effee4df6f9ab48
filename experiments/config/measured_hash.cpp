#include "experiments/config/measured_hash.hpp"

#include "core/io/sha256.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/data_files.hpp"
#include "experiments/config/model_source.hpp"

namespace blockwise {

std::string measured_hash(const RunConfig& config) {
  auto text = config_hash(config);
  for (const auto& file : data_files(config)) text += "\n" + file.key + " " + file.sampled_sha256;
  if (!config.model.from.empty()) text += "\n" + open_model(config.model.from).description;
  return sha256(text).substr(0, 16);
}

}  // namespace blockwise
