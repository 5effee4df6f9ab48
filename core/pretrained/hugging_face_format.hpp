// How a model family appears in a Hugging Face folder: which model_type values of config.json it
// covers, and the translation of its options. One file per family here, and one line in
// registry.inc.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/pretrained/json_config.hpp"

namespace blockwise {

struct HuggingFaceFormat {
  std::string family;
  std::vector<std::string> model_types;
  // Throws InputError for an option that the family has not, or a value it cannot express.
  std::unique_ptr<ModelSpec> (*read_config)(const JsonConfig& config);
  // What transformers 4 and 5 both read. Throws InputError where no architecture there has the
  // spec's options.
  nlohmann::ordered_json (*write_config)(const ModelSpec& spec);
  // Ends of the names of tensors that are no parameters (masks, rotary tables); ignored.
  std::vector<std::string> buffers;
  // Biases that transformers' architecture always has; written as zeros where the model has none.
  bool biases_always = false;
};

const std::vector<HuggingFaceFormat>& hugging_face_formats();

}  // namespace blockwise
