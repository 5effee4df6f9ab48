#include "experiments/model_source.hpp"

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/io/input_file.hpp"
#include "core/pretrained/hugging_face.hpp"
#include "core/pretrained/llm_c.hpp"
#include "experiments/checkpoint.hpp"
#include "experiments/config_yaml.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

ModelSource hugging_face(const fs::path& folder) {
  return {read_hugging_face_config(folder),
          [folder](ParameterStore& store) { read_hugging_face_weights(folder, store); },
          fmt::format("the Hugging Face folder {}", folder.string()), folder};
}

ModelSource llm_c(const fs::path& file) {
  return {read_llm_c_config(file),
          [file](ParameterStore& store) { read_llm_c_weights(file, store); },
          fmt::format("the llm.c file {}", file.string()), file.parent_path()};
}

// The spec as the run resolved it: its config.yaml has every size filled in.
ModelSource checkpoint(const fs::path& run, std::int64_t step) {
  const auto config = YamlDocument::load(run / "config.yaml").run_config();
  const auto folder = checkpoint_folder(run, step);
  return {config.model.spec->clone(),
          [folder](ParameterStore& store) { load_parameters(folder, store); },
          fmt::format("step {} of the run {}", step, run.string()), config.data.spec->folder()};
}

ModelSource newest_checkpoint(const fs::path& run) {
  const auto steps = checkpoint_steps(run);
  require_input(!steps.empty(), "{}: this run has no checkpoint yet", run.string());
  return checkpoint(run, steps.back());
}

}  // namespace

ModelSource open_model(const fs::path& path) {
  require_input(input_exists(path), "{}: there is no such model", path.string());
  if (fs::is_regular_file(path)) return llm_c(path);
  if (input_exists(path / "config.json")) return hugging_face(path);
  if (input_exists(path / "checkpoint.json")) {
    const auto folder = fs::canonical(path);
    return checkpoint(folder.parent_path().parent_path(), checkpoint_step(folder));
  }
  if (input_exists(path / "config.yaml")) return newest_checkpoint(path);
  throw InputError(fmt::format(
      "{}: no model: neither config.json (Hugging Face), config.yaml (a run) nor checkpoint.json "
      "(a checkpoint of a run) is there",
      path.string()));
}

LoadedModel load_model(const fs::path& path, at::Device device,
                       const std::optional<MixedPrecision>& mixed) {
  LoadedModel loaded{open_model(path), nullptr, nullptr};
  loaded.store =
      std::make_unique<ParameterStore>(loaded.source.spec->layout(), device, at::kFloat, mixed);
  loaded.source.load(*loaded.store);
  loaded.model = loaded.source.spec->build(*loaded.store);
  return loaded;
}

}  // namespace blockwise
