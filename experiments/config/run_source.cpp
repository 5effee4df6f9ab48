#include "experiments/config/run_source.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"
#include "core/base/field_finder.hpp"
#include "core/io/input_file.hpp"
#include "experiments/config/yaml_tree.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// Of a data set's options those that say where the evaluation's tokens are.
class EvaluationFields : public FieldFinder {
 public:
  explicit EvaluationFields(EvaluationSource& source) : source_(source) {}
  void text(const Field& f, std::string& value) override {
    if (f.name == "validation") source_.tokens = value;
  }
  void choice(const Field& f, std::string& value, const std::vector<std::string>&) override {
    if (f.name == "format") source_.format = value;
  }
  void integer(const Field& f, std::int64_t& value, const IntegerBounds&) override {
    if (f.name == "sequence_length") source_.sequence_length = value;
  }

 private:
  EvaluationSource& source_;
};

}  // namespace

RunConfig config_of_run(const fs::path& run) {
  auto document = YamlDocument::load(run / "config.yaml");
  document.set("model.from", "''", "an opened run");
  return document.run_config();
}

EvaluationSource evaluation_source(const fs::path& run) {
  const auto config = config_of_run(run);
  EvaluationSource source;
  EvaluationFields fields(source);
  config.data.spec->visit(fields);
  require_input(!source.tokens.empty() && source.sequence_length > 0,
                "{}: the run's data are no token files (data.kind {})",
                (run / "config.yaml").string(), config.data.kind);
  return source;
}

std::optional<fs::path> run_folder_of(const fs::path& model) {
  if (!input_exists(model) || input_exists(model / "config.json")) return std::nullopt;
  if (input_exists(model / "checkpoint.json")) {
    return fs::canonical(model).parent_path().parent_path();
  }
  if (!input_exists(model / "config.yaml")) return std::nullopt;
  return model.has_filename() ? model : model.parent_path();
}

std::string model_title(const fs::path& model) {
  const auto folder = run_folder_of(model).value_or(model);
  const auto name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  return name.string();
}

YamlDocument run_document(const fs::path& run, const std::string& model) {
  auto document = YamlDocument::load(run / "config.yaml");
  document.forget_moved();
  set_model(document, model);
  document.set("output", yaml_text(run.string()), "--model");
  return document;
}

void set_model(YamlDocument& document, const std::string& model) {
  document.set("model", fmt::format("{{from: {}}}", yaml_text(model)), "--model");
}

}  // namespace blockwise
