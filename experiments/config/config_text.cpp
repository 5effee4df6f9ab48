#include "experiments/config/config_text.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "core/io/input_file.hpp"
#include "core/io/sha256.hpp"
#include "core/partition/tensor_file.hpp"
#include "experiments/config/yaml_tree.hpp"

namespace blockwise {
namespace {

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
  void text_map(const Field& f, TextMap& values) override {
    std::vector<std::string> texts;
    for (const auto& [name, text] : values) {
      texts.push_back(fmt::format("{}: {}", yaml_text(name), yaml_text(text)));
    }
    line(f, fmt::format("{{{}}}", fmt::join(texts, ", ")));
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
constexpr std::array<std::string_view, 41> kLaterFields = {"data.validations: {}",
                                                           "trainer.cuda_graph: false",
                                                           "trainer.keep_best: false",
                                                           "trainer.gradients: kept",
                                                           "trainer.master_weights: fp32",
                                                           "trainer.master_resident_mb: 0",
                                                           "trainer.master_folder: \"\"",
                                                           "optimizer.block_lr: \"\"",
                                                           "optimizer.clip_by: norm",
                                                           "optimizer.hyperball: false",
                                                           "optimizer.coefficients: jordan",
                                                           "optimizer.rates: ",
                                                           "optimizer.rates.method: uniform",
                                                           "optimizer.state: ",
                                                           "optimizer.state.resident_mb: 0",
                                                           "optimizer.state.folder: \"\"",
                                                           "optimizer.state.first_moments: fp32",
                                                           "optimizer.state.second_moments: fp32",
                                                           "optimizer.state.smallest: 4096",
                                                           "trainer.keep_every: 0",
                                                           "trainer.norms_every: 0",
                                                           "model.activation: gelu_tanh",
                                                           "model.linear: exact",
                                                           "model.mlp_bias: false",
                                                           "model.rope_scaling.beta_fast: 32",
                                                           "model.rope_scaling.beta_slow: 1",
                                                           "model.rope_scaling.truncate: true",
                                                           "model.rope_scaling.attention_factor: 0",
                                                           "hessian.order: sampled",
                                                           "hessian.vectors_in: memory",
                                                           "hessian.models: []",
                                                           "hessian.parts.names: []",
                                                           "hessian.pairs.vectors: 0",
                                                           "trainer.divergence_factor: 100",
                                                           "trainer.overfit_batches: 0",
                                                           "data.test: \"\"",
                                                           "parallel: ",
                                                           "parallel.shard: none",
                                                           "parallel.gradient_sum: running",
                                                           "parallel.bucket_mb: 25",
                                                           "parallel.timeout_seconds: 1800"};

// What does not define the experiment, and what stands in its place.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kNeutral = {
    {{"name", "\"-\""},
     {"output", "\"-\""},
     {"trainer.device", "auto"},
     {"trainer.threads", "0"},
     {"trainer.checkpoint_every", "0"},
     {"trainer.keep_checkpoints", "2"},
     {"trainer.keep_best", "false"},
     {"trainer.keep_every", "0"},
     {"trainer.norms_every", "0"},
     {"trainer.cuda_graph", "false"},
     {"hessian.vectors_in", "memory"},
     {"parallel.shard", "none"},
     {"parallel.bucket_mb", "25"},
     {"parallel.timeout_seconds", "1800"}}};

ConfigLines neutral(ConfigLines config) {
  for (const auto& [path, value] : kNeutral) config.set(path, std::string(value));
  return config;
}

}  // namespace

bool is_later_default(std::string_view path, const std::string& value) {
  return std::ranges::find(kLaterFields, fmt::format("{}: {}", path, value)) != kLaterFields.end();
}

std::string experiment_yaml(RunConfig config) {
  return neutral(ConfigLines(to_yaml(std::move(config)))).yaml();
}

std::string named_files(const RunConfig& config) {
  return file_content(config.optimizer.partition.file) + file_content(config.optimizer.block_lr) +
         file_content(config.optimizer.spec->file());
}

// Rules with a partition have had rates per block from the start, the others got them later.
bool has_partition(const ConfigLines& config) {
  return std::ranges::any_of(config.lines(), [](const auto& line) {
    return line.path.starts_with("optimizer.partition.");
  });
}

std::string config_hash(const ConfigLines& config, const std::string& files) {
  const auto all = neutral(config);
  const bool partition = has_partition(all);
  auto kept = all;
  for (const auto& [indent, path, value] : all.lines()) {
    const bool always_there = partition && path == "optimizer.block_lr";
    if (is_later_default(path, value) && !always_there) kept.set(path, "");
  }
  return sha256(kept.former_yaml() + files).substr(0, 16);
}

std::string config_hash(RunConfig config) {
  const auto files = named_files(config);
  return config_hash(ConfigLines(to_yaml(std::move(config))), files);
}

}  // namespace blockwise
