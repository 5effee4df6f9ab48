// A run as the subject of a measurement: its folder says what data, lengths and names it has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "experiments/config/config_yaml.hpp"

namespace blockwise {

// The folder of the run that `model` is, or is a checkpoint of; nothing for other models. An
// exported or foreign Hugging Face folder is no run.
std::optional<std::filesystem::path> run_folder_of(const std::filesystem::path& model);

// What is measured, in words for a title: "quickstart" for a run or one of its checkpoints, else
// the last name of the path.
std::string model_title(const std::filesystem::path& model);

// The configuration that the run's folder keeps, with `model` in the place of its own model and
// output in the run's folder, wherever it lies now. Mistakes in it name the file. Throws InputError
// where the folder has no config.yaml.
YamlDocument run_document(const std::filesystem::path& run, const std::string& model);

// The configuration that the run's folder keeps. What the run started from (model.from) need not be
// there any more: the file has every size. Throws InputError where the folder has no config.yaml.
RunConfig config_of_run(const std::filesystem::path& run);

// What a run evaluates on: files, their format, and the tokens of a window.
struct EvaluationSource {
  std::string tokens;
  std::string format = "auto";
  std::int64_t sequence_length = 0;
};
// Throws InputError for a run whose data are no token files.
EvaluationSource evaluation_source(const std::filesystem::path& run);

// Replaces the section `model` of a configuration by a model that exists: its sizes are its own.
void set_model(YamlDocument& document, const std::string& model);

}  // namespace blockwise
