#include "experiments/config/config_reader.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/config/spelling.hpp"
#include "experiments/config/wandb_words.hpp"

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

// Whether the text is a number, of more digits than fit.
template <typename Number>
bool overflows(const YAML::Node& node) {
  if (!node.IsScalar()) return false;
  const auto& text = node.Scalar();
  const char* first = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* last = text.data() + text.size();
  Number value{};
  const auto result = std::from_chars(first, last, value);
  return result.ec == std::errc::result_out_of_range && result.ptr == last;
}

// A value as it was written where YAML reads it back from `place`, the value itself or a list of
// it, otherwise in quotes: it is read once more where it is set.
std::string value_text(const std::string& value, const std::string& place) {
  try {
    const auto again = YAML::Load(place);
    const bool is_list = again.IsSequence() && again.size() == 1;
    const auto read = is_list ? again[0] : again;
    if (read.IsScalar() && read.Scalar() == value && !value.empty()) return value;
  } catch (const YAML::Exception&) {
  }
  return yaml_text(value);
}

class YamlReader : public FieldVisitor {
 public:
  explicit YamlReader(const YamlDocument::Tree& tree) : tree_(tree) { push(tree.root, ""); }

  void real(const Field& field, double& value, const RealBounds& bounds) override {
    const auto node = scalar(field);
    if (!node) return;
    double parsed = 0.0;
    if (overflows<double>(*node)) {
      fail(*node, field, fmt::format("{} is beyond the numbers of 64 bits", shown(*node)));
    }
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
    if (printable_lines(node->Scalar()) != node->Scalar()) {
      fail(*node, field,
           fmt::format("'{}' holds control characters or bytes that are no UTF-8",
                       printable(node->Scalar())));
    }
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
      const auto name = new_name(entry.first, field, values);
      if (const auto problem = name_problem(name); !problem.empty()) {
        fail(entry.first, field, problem);
      }
      if (!entry.second.IsScalar() || entry.second.Scalar().empty()) {
        fail(entry.second, field, fmt::format("'{}': {} is not a text", name, shown(entry.second)));
      }
      values.emplace_back(name, entry.second.Scalar());
    }
  }

  void value(const Field& field, std::string& yaml) override {
    if (const auto node = find(field)) yaml = any_value(*node, field);
  }

  void value_list(const Field& field, std::vector<std::string>& yaml) override {
    const auto node = list(field);
    if (!node) return;
    yaml.clear();
    for (const auto& item : *node) yaml.push_back(any_value(item, field));
  }

  void value_map(const Field& field, TextMap& yaml) override {
    const auto node = find(field);
    if (!node) return;
    if (!node->IsMap()) fail(*node, field, fmt::format("{} is not a map", shown(*node)));
    yaml.clear();
    for (const auto& entry : *node) {
      const auto name = new_name(entry.first, field, yaml);
      yaml.emplace_back(name, any_value(entry.second, field));
    }
  }

  void section_list(const Field& field, Sections& sections) override {
    const auto node = list(field);
    if (!node || is_looking_) return;
    for (std::size_t i = 0; i < node->size(); ++i) {
      sections.append("");
      read_item((*node)[i], {fmt::format("{}[{}]", field.name, i), field.hint}, sections);
    }
  }

  void section_map(const Field& field, Sections& sections) override {
    const auto node = find(field);
    if (node && !is_looking_) read_named(*node, field, "", sections);
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
    scopes_.back().hint = field.hint;
  }

  void end_section() override {
    refuse_unknown_keys();
    scopes_.pop_back();
  }

  void check(std::string_view field, const std::string& why) override {
    if (why.empty() || is_looking_) return;
    auto node = scopes_.back().node;
    std::string path = scopes_.back().path;
    for (std::size_t begin = 0; begin < field.size();) {
      const auto end = std::min(field.find('.', begin), field.size());
      const std::string key(field.substr(begin, end - begin));
      path = join_path(path, key);
      if (node.IsMap() && std::as_const(node)[key]) node.reset(std::as_const(node)[key]);
      begin = end + 1;
    }
    throw InputError(fmt::format("{}: {}: {}", tree_.place(node.Mark(), path), path, why));
  }

  // A section, in which unknown keys are refused before anything is checked.
  void read_section(const Field& field, Sections& section) {
    if (const auto node = find(field))
      read_item(*node, {std::string(field.name), field.hint}, section);
  }
  void allow_key(const std::string& key) { scopes_.back().known.insert(key); }
  void finish() { refuse_unknown_keys(); }

 private:
  struct Scope {
    YAML::Node node;
    std::string path;
    std::set<std::string> known;
    WordHint hint = nullptr;
  };
  struct Item {
    std::string name;
    WordHint hint;
  };

  void push(const YAML::Node& node, const std::string& name) {
    const std::string prefix = scopes_.empty() ? "" : scopes_.back().path;
    scopes_.push_back({node, name.empty() ? prefix : join_path(prefix, name), {}, nullptr});
    std::set<std::string> keys;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) fail_at(entry.first, "", shown(entry.first) + " is not a key");
      const auto key = entry.first.Scalar();
      if (!keys.insert(key).second) fail_at(entry.first, key, "this key stands here twice");
    }
  }

  // Goes through it twice, at first without what is below it: a key that is not known explains what
  // else is wrong, so it is said first.
  void read_item(const YAML::Node& node, const Item& item, Sections& sections) {
    if (!node.IsMap()) fail_at(node, item.name, fmt::format("{} is not a section", shown(node)));
    push(node, item.name);
    scopes_.back().hint = item.hint;
    is_looking_ = true;
    sections.visit_last(*this);
    refuse_unknown_keys();
    is_looking_ = false;
    sections.visit_last(*this);
    scopes_.pop_back();
  }

  void read_named(const YAML::Node& map, const Field& field, const std::string& prefix,
                  Sections& sections) {
    if (!map.IsMap()) fail(map, field, fmt::format("{} is not a map", shown(map)));
    const std::string own(field.name);
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) fail(entry.first, field, shown(entry.first) + " is not a key");
      const auto name = join_path(prefix, entry.first.Scalar());
      const auto& node = entry.second;
      if (node.IsMap() && node.size() == 1 && node[own]) {
        read_named(node[own], field, name, sections);
        continue;
      }
      sections.append(name);
      read_item(node, {join_path(own, name), field.hint}, sections);
    }
  }

  // A key of a map whose names are the user's.
  std::string new_name(const YAML::Node& key, const Field& field, const TextMap& before) const {
    if (!key.IsScalar()) fail(key, field, shown(key) + " is not a key");
    if (std::ranges::count(before, key.Scalar(), &TextMap::value_type::first) > 0) {
      fail(key, field, fmt::format("the name '{}' stands here twice", key.Scalar()));
    }
    return key.Scalar();
  }

  std::string any_value(const YAML::Node& node, const Field& field) const {
    if (node.IsScalar()) return value_text(node.Scalar(), node.Scalar());
    if (!node.IsSequence()) {
      fail(node, field, fmt::format("{} where a value is expected", shown(node)));
    }
    std::vector<std::string> parts;
    for (const auto& part : node) {
      if (!part.IsScalar()) fail(part, field, fmt::format("{} in a list of values", shown(part)));
      parts.push_back(value_text(part.Scalar(), fmt::format("[{}]", part.Scalar())));
    }
    return fmt::format("[{}]", fmt::join(parts, ", "));
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
      fail(node, field,
           overflows<std::int64_t>(node) ? fmt::format("{} is out of bounds, {} to {} are allowed",
                                                       shown(node), bounds.min, bounds.max)
                                         : fmt::format("{} is not a whole number", shown(node)));
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
                       meant(text, field.hint, choices)));
    }
    return text;
  }

  void refuse_unknown_keys() {
    const auto& scope = scopes_.back();
    const std::vector<std::string> known(scope.known.begin(), scope.known.end());
    for (const auto& entry : scope.node) {
      const auto key = entry.first.Scalar();
      if (scope.known.count(key) > 0) continue;
      fail_at(entry.first, key, "unknown key" + meant(key, scope.hint, known));
    }
  }

  static std::string meant(const std::string& word, WordHint hint,
                           const std::vector<std::string>& words) {
    const auto known = hint == nullptr ? "" : hint(word);
    return known.empty() ? did_you_mean(word, words) : known;
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
  bool is_looking_ = false;  // at which keys there are, before anything is checked
};

// The section `sweep` as the only item of a list.
class SweepSection : public Sections {
 public:
  explicit SweepSection(SweepConfig& sweep) : sweep_(sweep) {}
  void append(const std::string&) override { sweep_ = {}; }
  void visit_last(FieldVisitor& v) override { sweep_.visit(v); }

 private:
  SweepConfig& sweep_;
};

// What people write who know other tools' files, where there is no section.
void require_sweep(const YamlDocument::Tree& tree) {
  const auto root = std::as_const(tree.root);
  if (root["sweep"].IsDefined() && root["sweep"].IsMap()) return;
  const bool has_words = root["parameters"].IsDefined() || root["method"].IsDefined();
  throw InputError(
      fmt::format("{}: there is no section 'sweep'; {}", tree.name,
                  has_words ? "`method` and `parameters` stand in it, beside the sections of a run"
                            : "`blockwise train` runs a file without one"));
}

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

SweepConfig read_sweep_config(const YamlDocument::Tree& tree) {
  require_sweep(tree);
  SweepConfig sweep;
  SweepSection section(sweep);
  YamlReader(tree).read_section({"sweep", "", false, wandb_section_hint}, section);
  if (sweep.baseline.empty() && !sweep.groups.empty()) sweep.baseline = sweep.groups.front().name;
  return sweep;
}

}  // namespace blockwise
