#include "experiments/config/run_config_reader.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "core/base/error.hpp"
#include "core/base/text_map_field.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/config/spelling.hpp"

namespace blockwise {
namespace {

std::string bounds_text(const RealBounds& b) {
  std::string text;
  if (std::isfinite(b.min)) text = fmt::format("{} {}", b.min_open ? "above" : "at least", b.min);
  if (std::isfinite(b.max)) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", b.max_open ? "below" : "at most",
                        b.max);
  }
  return text;
}

class YamlReader : public FieldVisitor, public TextMapVisitor {
 public:
  explicit YamlReader(const YamlDocument::Tree& tree) : tree_(tree) { push(tree.root, ""); }

  void real(const Field& field, double& value, const RealBounds& bounds) override {
    const auto node = scalar(field);
    if (!node) return;
    double parsed = 0.0;
    if (!parse_number(node->Scalar(), parsed) || std::isnan(parsed)) {
      fail(*node, field, fmt::format("{} is not a number", shown(*node)));
    }
    const bool above = bounds.min_open ? parsed > bounds.min : parsed >= bounds.min;
    const bool below = bounds.max_open ? parsed < bounds.max : parsed <= bounds.max;
    if (!above || !below) {
      fail(*node, field,
           fmt::format("{} is out of bounds, {} is allowed", node->Scalar(), bounds_text(bounds)));
    }
    value = parsed;
  }

  void integer(const Field& field, std::int64_t& value, const IntegerBounds& bounds) override {
    const auto node = scalar(field);
    if (node) value = checked_integer(*node, field, bounds);
  }

  void boolean(const Field& field, bool& value) override {
    const auto node = scalar(field);
    if (!node) return;
    const auto& text = node->Scalar();
    if (text != "true" && text != "false") {
      fail(*node, field, fmt::format("{} is neither true nor false", shown(*node)));
    }
    value = text == "true";
  }

  void text(const Field& field, std::string& value) override {
    const auto node = scalar(field);
    if (!node) return;
    if (field.required && node->Scalar().empty()) fail(*node, field, "the text is empty");
    value = node->Scalar();
  }

  void choice(const Field& field, std::string& value,
              const std::vector<std::string>& choices) override {
    const auto node = scalar(field);
    if (node) value = checked_choice(*node, field, choices);
  }

  void text_list(const Field& field, std::vector<std::string>& values) override {
    const auto node = list(field);
    if (!node) return;
    values.clear();
    for (const auto& item : *node) {
      if (!item.IsScalar()) fail(item, field, fmt::format("{} is not a text", shown(item)));
      values.push_back(item.Scalar());
    }
  }

  void text_map(const Field& field, TextMap& values) override {
    const auto node = find(field);
    if (!node) return;
    if (!node->IsMap()) fail(*node, field, fmt::format("{} is not a map", shown(*node)));
    values.clear();
    for (const auto& entry : *node) {
      const auto name = entry.first.Scalar();
      if (const auto problem = name_problem(name); !problem.empty()) {
        fail(entry.first, field, fmt::format("the name {}", problem));
      }
      if (std::ranges::count(values, name, &TextMap::value_type::first) > 0) {
        fail(entry.first, field, fmt::format("the name '{}' stands here twice", name));
      }
      if (!entry.second.IsScalar() || entry.second.Scalar().empty()) {
        fail(entry.second, field, fmt::format("'{}': {} is not a text", name, shown(entry.second)));
      }
      values.emplace_back(name, entry.second.Scalar());
    }
  }

  void choice_list(const Field& field, std::vector<std::string>& values,
                   const std::vector<std::string>& choices) override {
    const auto node = list(field);
    if (!node) return;
    values.clear();
    for (const auto& item : *node) values.push_back(checked_choice(item, field, choices));
  }

  void integer_list(const Field& field, std::vector<std::int64_t>& values,
                    const IntegerBounds& bounds) override {
    const auto node = list(field);
    if (!node) return;
    values.clear();
    for (const auto& item : *node) values.push_back(checked_integer(item, field, bounds));
  }

  void begin_section(const Field& field) override {
    const auto node = find(field);
    if (node && !node->IsMap())
      fail(*node, field, fmt::format("{} is not a section", shown(*node)));
    push(node ? *node : YAML::Node(YAML::NodeType::Map), std::string(field.name));
    if (!node) scopes_.back().node_is_absent = true;
  }

  void end_section() override {
    refuse_unknown_keys();
    scopes_.pop_back();
  }

  void check(std::string_view field, const std::string& why) override {
    if (why.empty()) return;
    auto node = scopes_.back().node;
    std::string path = scopes_.back().path;
    for (std::size_t begin = 0; begin <= field.size();) {
      const auto end = std::min(field.find('.', begin), field.size());
      const std::string key(field.substr(begin, end - begin));
      path = join_path(path, key);
      if (node.IsMap() && std::as_const(node)[key]) node.reset(std::as_const(node)[key]);
      begin = end + 1;
    }
    throw InputError(fmt::format("{}: {}: {}", tree_.place(node.Mark(), path), path, why));
  }

  void allow_key(const std::string& key) { scopes_.back().known.insert(key); }
  void finish() { refuse_unknown_keys(); }

 private:
  struct Scope {
    YAML::Node node;
    std::string path;
    std::set<std::string> known;
    bool node_is_absent = false;
  };

  void push(const YAML::Node& node, const std::string& name) {
    const std::string prefix = scopes_.empty() ? "" : scopes_.back().path;
    scopes_.push_back({node, name.empty() ? prefix : join_path(prefix, name), {}, false});
    std::set<std::string> keys;
    for (const auto& entry : node) {
      const auto key = entry.first.Scalar();
      if (!keys.insert(key).second) fail_at(entry.first, key, "this key stands here twice");
    }
  }

  std::optional<YAML::Node> find(const Field& field) {
    auto& scope = scopes_.back();
    const std::string key(field.name);
    scope.known.insert(key);
    const YAML::Node node = std::as_const(scope.node)[key];
    if (node.IsDefined() && !node.IsNull()) return node;
    if (node.IsDefined()) fail(key_node(key), field, "the key has no value");
    if (field.required) {
      refuse_misspelt(key);
      throw InputError(fmt::format("{}: the key '{}' is missing ({})",
                                   tree_.place(scope.node.Mark(), scope.path),
                                   join_path(scope.path, field.name), field.doc));
    }
    return std::nullopt;
  }

  // A key that is missing may be there under a name that only looks like its own.
  void refuse_misspelt(const std::string& missing) const {
    for (const auto& entry : scopes_.back().node) {
      const auto key = entry.first.Scalar();
      const auto meant = did_you_mean(key, {missing});
      if (scopes_.back().known.count(key) > 0 || meant.empty()) continue;
      fail_at(entry.first, key, "unknown key" + meant);
    }
  }

  // An empty value has no place of its own; its key has.
  YAML::Node key_node(const std::string& key) const {
    for (const auto& entry : scopes_.back().node) {
      if (entry.first.Scalar() == key) return entry.first;
    }
    return scopes_.back().node;
  }

  std::optional<YAML::Node> scalar(const Field& field) {
    const auto node = find(field);
    if (node && !node->IsScalar()) {
      fail(*node, field, fmt::format("{} where a single value is expected", shown(*node)));
    }
    return node;
  }

  std::optional<YAML::Node> list(const Field& field) {
    const auto node = find(field);
    if (node && !node->IsSequence()) {
      fail(*node, field, fmt::format("{} where a list is expected", shown(*node)));
    }
    return node;
  }

  std::int64_t checked_integer(const YAML::Node& node, const Field& field,
                               const IntegerBounds& bounds) {
    std::int64_t parsed = 0;
    if (!node.IsScalar() || !parse_number(node.Scalar(), parsed)) {
      fail(node, field, fmt::format("{} is not a whole number", shown(node)));
    }
    if (parsed < bounds.min || parsed > bounds.max) {
      fail(
          node, field,
          fmt::format("{} is out of bounds, {} to {} are allowed", parsed, bounds.min, bounds.max));
    }
    return parsed;
  }

  std::string checked_choice(const YAML::Node& node, const Field& field,
                             const std::vector<std::string>& choices) {
    const std::string text = node.IsScalar() ? node.Scalar() : "";
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      fail(node, field,
           fmt::format("{} is none of {}{}", shown(node), fmt::join(choices, ", "),
                       did_you_mean(text, choices)));
    }
    return text;
  }

  void refuse_unknown_keys() {
    const auto& scope = scopes_.back();
    const std::vector<std::string> known(scope.known.begin(), scope.known.end());
    for (const auto& entry : scope.node) {
      const auto key = entry.first.Scalar();
      if (scope.known.count(key) > 0) continue;
      fail_at(entry.first, key, "unknown key" + did_you_mean(key, known));
    }
  }

  [[noreturn]] void fail(const YAML::Node& node, const Field& field,
                         const std::string& what) const {
    fail_at(node, field.name, what);
  }
  [[noreturn]] void fail_at(const YAML::Node& node, std::string_view key,
                            const std::string& what) const {
    const auto path = join_path(scopes_.back().path, key);
    throw InputError(fmt::format("{}: {}: {}", tree_.place(node.Mark(), path), path, what));
  }

  const YamlDocument::Tree& tree_;
  std::vector<Scope> scopes_;
};

}  // namespace

RunConfig read_run_config(const YamlDocument::Tree& tree) {
  RunConfig config;
  YamlReader reader(tree);
  reader.allow_key("sweep");
  config.visit(reader);
  reader.finish();
  return config;
}

OptimizerConfig read_optimizer_config(const YamlDocument::Tree& tree) {
  OptimizerConfig config;
  YamlReader reader(tree);
  reader.begin_section({"optimizer", ""});
  config.visit(reader);
  reader.end_section();
  reader.finish();
  return config;
}

}  // namespace blockwise
