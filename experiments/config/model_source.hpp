// A model that somebody already has: a Hugging Face folder, a run of ours, one of its checkpoints,
// or a model file of llm.c; and the one that a configuration would start from.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/pretrained/companion_files.hpp"

namespace blockwise {

struct ModelSource {
  std::unique_ptr<ModelSpec> spec;
  std::function<void(ParameterStore&)> load;  // fills a store that has spec->layout()
  std::string description;                    // for people, for example "step 400 of runs/x"
  // Tokenizer files (or the manifest.json of bytes) and special tokens: of the folder itself, of
  // what the run started from, or the files in the folder of the run's data.
  Companions companions;
  std::vector<std::string> notes;    // for people: what the model's files say that is ignored
  std::optional<std::int64_t> step;  // of training, where the model is a checkpoint of a run
};

// Recognises what `path` is by what is in it: config.json (Hugging Face), checkpoint.json
// (checkpoint), run.h5 (run; its newest checkpoint), or a file (llm.c). Reads no weights yet.
// Throws InputError saying what was looked for.
ModelSource open_model(const std::filesystem::path& path);

// The model that `train` would start from with this YAML file: fresh from its seed, or model.from.
// Reads the data's sizes.
ModelSource fresh_model(const std::filesystem::path& yaml);

// What model.from brings along, as a run keeps it: nothing for a model without files of its own.
// The run's folder `pretrained` gets the tokenizer's files, generation_config.json and the ids of
// special tokens. Where the folder `data` has a tokenizer.json with other tokens, the run learns
// those: then nothing is kept, and `pretrained` is not made.
void keep_companions(const ModelSource& source, const std::filesystem::path& data,
                     const std::filesystem::path& run);

// The notes, on standard error.
void print_notes(const ModelSource& source);

// The opened model with its weights; `path` may be a .yaml file, too (fresh_model). Prints notes.
struct LoadedModel {
  ModelSource source;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
};
LoadedModel load_model(const std::filesystem::path& path, at::Device device,
                       const std::optional<MixedPrecision>& mixed = std::nullopt);

}  // namespace blockwise
