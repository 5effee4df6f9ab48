// A model that somebody already has: a Hugging Face folder, a run of ours, one of its checkpoints,
// or a model file of llm.c.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/model.hpp"

namespace blockwise {

struct ModelSource {
  std::unique_ptr<ModelSpec> spec;
  std::function<void(ParameterStore&)> load;  // fills a store that has spec->layout()
  std::string description;                    // for people, for example "step 400 of runs/x"
  // Where a tokenizer.json or a manifest.json may lie: the folder itself, or that of the run's
  // data.
  std::filesystem::path tokenizer_folder;
};

// Recognises what `path` is by what is in it: config.json (Hugging Face), checkpoint.json
// (checkpoint), run.h5 (run; its newest checkpoint), or a file (llm.c). Reads no weights yet.
// Throws InputError saying what was looked for.
ModelSource open_model(const std::filesystem::path& path);

// The opened model with its weights.
struct LoadedModel {
  ModelSource source;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
};
LoadedModel load_model(const std::filesystem::path& path, at::Device device,
                       const std::optional<MixedPrecision>& mixed = std::nullopt);

}  // namespace blockwise
