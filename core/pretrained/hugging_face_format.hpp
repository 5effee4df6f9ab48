// How a model family appears in a Hugging Face folder: which model_type values of config.json it
// covers, and the translation of its options. One file per family here, and one line in
// registry.inc.
//
// Every key of config.json that changes what transformers computes is honoured or refused by name.
// What a format does not ask for must be on a list of keys that change nothing, of all families
// (harmless_keys.cpp) or of this one; a key on neither is unknown to transformers' architecture,
// too, which ignores it: it is reported.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/pretrained/companion_files.hpp"
#include "core/pretrained/json_config.hpp"
#include "core/pretrained/option_bounds.hpp"

namespace blockwise {

struct HuggingFaceFormat {
  std::vector<std::string> model_types;
  // With transformers' own defaults for what is not there. Throws InputError for an option that the
  // family has not, or a value it cannot express. Bounds are checked by the caller.
  std::unique_ptr<ModelSpec> (*read_config)(const JsonConfig& config);
  // What transformers 4 and 5 both read. Throws InputError where no architecture there has the
  // spec's options.
  nlohmann::ordered_json (*write_config)(const ModelSpec& spec);
  // The ids that transformers takes for a config.json without them.
  SpecialTokens (*default_tokens)(const std::string& model_type);
  // Keys of config.json by option.
  OptionNames keys;
  std::vector<std::string> harmless_keys;
  // Ends of the names of tensors that are no parameters (masks, rotary tables); ignored.
  std::vector<std::string> buffers;
  // Biases that transformers' architecture always has; written as zeros where the model has none.
  bool biases_always = false;
};

// By family.
const Registry<HuggingFaceFormat>& hugging_face_formats();

// Keys that mean the same in every family, or nothing to a language model's forward pass: training,
// sampling, classification heads, versions, how transformers runs.
bool is_harmless_key(const std::string& key);

// Throws InputError for what no family here has: quantized weights, layers with configurations of
// their own, pruned heads, encoders, rotary positions on a part of a head.
void refuse_foreign_options(const JsonConfig& config);

}  // namespace blockwise
