#include "experiments/config/model_source.hpp"

#include <fmt/ranges.h>

#include <cstdio>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "core/pretrained/hugging_face.hpp"
#include "core/pretrained/llm_c.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/resolved_run.hpp"
#include "experiments/config/run_source.hpp"
#include "experiments/records/checkpoint.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCompanions = "pretrained";

ModelSource hugging_face(const fs::path& folder) {
  auto config = read_hugging_face_config(folder);
  ModelSource source{std::move(config.spec),
                     [folder](ParameterStore& store) { read_hugging_face_weights(folder, store); },
                     fmt::format("the Hugging Face folder {}", folder.string()),
                     std::move(config.companions),
                     {},
                     std::nullopt};
  if (config.unknown_keys.empty()) return source;
  source.notes.push_back(
      fmt::format("{}: unknown keys, which change nothing in transformers either: {}",
                  (folder / "config.json").string(), fmt::join(config.unknown_keys, ", ")));
  return source;
}

ModelSource llm_c(const fs::path& file) {
  return {read_llm_c_config(file),
          [file](ParameterStore& store) { read_llm_c_weights(file, store); },
          fmt::format("the llm.c file {}", file.string()),
          {file.parent_path(), {}},
          {},
          std::nullopt};
}

// What the model brought along, else what lies beside the data.
Companions companions_of_run(const fs::path& run, const fs::path& data) {
  auto kept = read_companions(run / kCompanions);
  if (kept && input_exists(kept->folder / "tokenizer.json")) return *kept;
  return {data, kept ? kept->tokens : SpecialTokens{}};
}

// As the run resolved it, with every size: what the run started from need not be there any more.
// Checkpoints of an earlier version leave it to the run's config.yaml.
CheckpointModel model_of(const fs::path& run, const fs::path& checkpoint) {
  if (auto model = checkpoint_model(checkpoint)) return std::move(*model);
  const auto config = config_of_run(run);
  return {config.model.spec->clone(), config.data.spec->folder().string()};
}

ModelSource checkpoint(const fs::path& run, std::int64_t step) {
  const auto folder = checkpoint_folder(run, step);
  auto model = model_of(run, folder);
  return {std::move(model.spec),
          [folder](ParameterStore& store) { load_parameters(folder, store); },
          fmt::format("step {} of the run {}", step, run.string()),
          companions_of_run(run, model.data_folder),
          {},
          step};
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

ModelSource fresh_model(const fs::path& yaml) {
  auto run = resolve(YamlDocument::load(yaml).run_config());
  const auto& config = run.config;
  if (!config.model.from.empty()) {
    auto source = open_model(config.model.from);
    source.spec = config.model.spec->clone();
    source.description = fmt::format("{}, where {} starts", source.description, yaml.string());
    return source;
  }
  const auto seed = static_cast<std::uint64_t>(config.seed);
  return {config.model.spec->clone(),
          [seed](ParameterStore& store) { store.initialize(seed); },
          fmt::format("the fresh model of {} from seed {}", yaml.string(), seed),
          {config.data.spec->folder(), {}},
          {}};
}

namespace {

bool has_tokenizer(const fs::path& folder) {
  return !folder.empty() && input_exists(folder / "tokenizer.json");
}

// The tokens by number, in whatever form and order the file has them.
nlohmann::json token_table(const fs::path& folder) {
  const auto json = read_json_file(folder / "tokenizer.json");
  const bool named = json.is_object() && json.contains("model") && json["model"].is_object() &&
                     json["model"].contains("vocab");
  require_input(named, "{}: no 'vocab' in 'model'", (folder / "tokenizer.json").string());
  return json["model"]["vocab"];
}

}  // namespace

void keep_companions(const ModelSource& source, const fs::path& data, const fs::path& run) {
  const auto& [folder, tokens] = source.companions;
  const bool both = has_tokenizer(folder) && has_tokenizer(data);
  if (both && token_table(folder) != token_table(data)) return;
  const bool has_ids = !tokens.begin.empty() || !tokens.end.empty() || !tokens.padding.empty();
  if (has_tokenizer(folder) || has_ids) write_companions(source.companions, run / kCompanions);
}

void print_notes(const ModelSource& source) {
  for (const auto& note : source.notes) fmt::print(stderr, "note: {}\n", note);
}

namespace {

bool is_yaml(const fs::path& path) {
  return input_exists(path) && fs::is_regular_file(path) &&
         (path.extension() == ".yaml" || path.extension() == ".yml");
}

}  // namespace

LoadedModel load_model(const fs::path& path, at::Device device,
                       const std::optional<MixedPrecision>& mixed) {
  LoadedModel loaded{is_yaml(path) ? fresh_model(path) : open_model(path), nullptr, nullptr};
  print_notes(loaded.source);
  loaded.store = std::make_unique<ParameterStore>(loaded.source.spec->layout(), device, at::kFloat,
                                                  mixed, Gradients::released);
  loaded.source.load(*loaded.store);
  loaded.model = loaded.source.spec->build(*loaded.store);
  return loaded;
}

}  // namespace blockwise
