#include "experiments/config_text.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>
#include <string_view>

#include "core/io/input_file.hpp"
#include "core/io/sha256.hpp"
#include "core/tensor_file.hpp"

namespace blockwise {
namespace {

// A plain scalar where YAML reads it back as the same text, otherwise in double quotes.
std::string yaml_text(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/';
  }) && text.front() != '-';
  const bool reads_as_nothing = text == "null" || text == "Null" || text == "NULL";
  if (plain && !reads_as_nothing) return text;
  std::string out(1, '"');
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
  return out;
}

// Shortest text that reads back as the same double; with a point before the exponent, which
// YAML 1.1 readers ask for.
std::string real_text(double value) {
  auto text = fmt::format("{}", value);
  const auto exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(exponent, ".0");
  }
  return text;
}

class YamlWriter : public FieldVisitor {
 public:
  void real(const Field& f, double& value, const RealBounds&) override {
    line(f, real_text(value));
  }
  void integer(const Field& f, std::int64_t& value, const IntegerBounds&) override {
    line(f, fmt::format("{}", value));
  }
  void boolean(const Field& f, bool& value) override { line(f, value ? "true" : "false"); }
  void text(const Field& f, std::string& value) override { line(f, yaml_text(value)); }
  void text_list(const Field& f, std::vector<std::string>& values) override {
    std::vector<std::string> texts;
    for (const auto& value : values) texts.push_back(yaml_text(value));
    line(f, fmt::format("[{}]", fmt::join(texts, ", ")));
  }
  void choice(const Field& f, std::string& value, const std::vector<std::string>&) override {
    line(f, yaml_text(value));
  }
  void choice_list(const Field& f, std::vector<std::string>& values,
                   const std::vector<std::string>&) override {
    line(f, fmt::format("[{}]", fmt::join(values, ", ")));
  }
  void integer_list(const Field& f, std::vector<std::int64_t>& values,
                    const IntegerBounds&) override {
    line(f, fmt::format("[{}]", fmt::join(values, ", ")));
  }
  void begin_section(const Field& f) override {
    text_ += fmt::format("{:{}}{}:\n", "", indent_, f.name);
    indent_ += 2;
  }
  void end_section() override { indent_ -= 2; }
  void check(std::string_view, const std::string&) override {}

  const std::string& text() const { return text_; }

 private:
  void line(const Field& f, const std::string& value) {
    text_ += fmt::format("{:{}}{}: {}\n", "", indent_, f.name, value);
  }
  std::string text_;
  int indent_ = 0;
};

}  // namespace

std::string to_yaml(RunConfig config) {
  YamlWriter writer;
  config.visit(writer);
  return writer.text();
}

namespace {

// What a path stands for; nothing where there is none, which whoever reads it will say.
std::string file_content(const std::string& path) {
  if (path.empty() || !input_exists(path)) return "";
  return read_text_file(path, kTensorFileLimit);
}

// Fields that came after runs without them, at the value that those runs have in effect: no part of
// the hash, so that a run of an older version can be continued. Whoever adds a field adds a line.
constexpr std::array<std::string_view, 12> kLaterFields = {"model.activation: gelu_tanh",
                                                           "model.mlp_bias: false",
                                                           "model.rope_scaling.beta_fast: 32",
                                                           "model.rope_scaling.beta_slow: 1",
                                                           "model.rope_scaling.truncate: true",
                                                           "model.rope_scaling.attention_factor: 0",
                                                           "hessian.order: sampled",
                                                           "hessian.models: []",
                                                           "hessian.names: []",
                                                           "hessian.vectors: 0",
                                                           "trainer.divergence_factor: 100",
                                                           "trainer.overfit_batches: 0"};

// The resolved configuration (two blanks of indentation per section) without them.
std::string without_later_fields(const std::string& yaml) {
  std::istringstream lines(yaml);
  std::string kept, line;
  std::vector<std::string> sections;
  while (std::getline(lines, line)) {
    const auto indent = line.find_first_not_of(' ');
    sections.resize(std::min(indent / 2, sections.size()));
    const auto text = line.substr(indent);
    const auto path =
        sections.empty() ? text : fmt::format("{}.{}", fmt::join(sections, "."), text);
    if (text.ends_with(':')) sections.push_back(text.substr(0, text.size() - 1));
    const bool later =
        std::find(kLaterFields.begin(), kLaterFields.end(), path) != kLaterFields.end();
    if (!later) kept += line + '\n';
  }
  return kept;
}

}  // namespace

std::string experiment_yaml(RunConfig config) {
  const TrainerConfig defaults;
  config.name = config.output = std::string(1, '-');
  config.trainer.device = defaults.device;
  config.trainer.threads = defaults.threads;
  config.trainer.checkpoint_every = defaults.checkpoint_every;
  config.trainer.keep_checkpoints = defaults.keep_checkpoints;
  return to_yaml(std::move(config));
}

std::string config_hash(RunConfig config) {
  const auto files =
      file_content(config.optimizer.partition.file) + file_content(config.optimizer.block_lr);
  return sha256(without_later_fields(experiment_yaml(std::move(config))) + files).substr(0, 16);
}

}  // namespace blockwise
