#include "experiments/config_yaml.hpp"

#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "experiments/spelling.hpp"

namespace blockwise {

struct YamlDocument::Tree {
  std::string name;
  YAML::Node root;
  std::map<std::string, std::string> origins;  // of keys that were set, by path

  std::string place(const YAML::Mark& mark, const std::string& path) const {
    for (auto key = path;; key.resize(key.rfind('.'))) {
      const auto found = origins.find(key);
      if (found != origins.end()) return found->second;
      if (key.find('.') == std::string::npos) break;
    }
    return fmt::format("{}:{}:{}", name, mark.line + 1, mark.column + 1);
  }
};

namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
constexpr int kMaxDepth = 64;
constexpr std::int64_t kMaxNodes = 100'000;

// ---- limits, on parser events so that nothing has been built yet --------------------------------

class LimitChecker : public YAML::EventHandler {
 public:
  explicit LimitChecker(std::string name) : name_(std::move(name)) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(mark, "a second document; one is read");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, anchor); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string&) override {
    leaf(mark, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    for (const auto& frame : open_) {
      if (frame.anchor == anchor) fail(mark, "an alias inside its own anchor");
    }
    add(mark, sizes_[anchor]);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YAML::anchor_t anchor;
    std::int64_t nodes;
  };

  void leaf(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) sizes_[anchor] = 1;
    add(mark, 1);
  }
  void open(const YAML::Mark& mark, YAML::anchor_t anchor) {
    open_.push_back({anchor, 0});
    if (open_.size() > kMaxDepth)
      fail(mark, fmt::format("nested deeper than {} levels", kMaxDepth));
    add(mark, 1);
  }
  void close() {
    const auto frame = open_.back();
    open_.pop_back();
    if (frame.anchor != YAML::NullAnchor) sizes_[frame.anchor] = frame.nodes;
    if (!open_.empty()) open_.back().nodes += frame.nodes;
  }
  void add(const YAML::Mark& mark, std::int64_t nodes) {
    total_ += nodes;
    if (!open_.empty()) open_.back().nodes += nodes;
    if (total_ > kMaxNodes) {
      fail(mark, fmt::format("more than {} nodes once aliases are expanded", kMaxNodes));
    }
  }
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw InputError(fmt::format("{}:{}:{}: {}", name_, mark.line + 1, mark.column + 1, what));
  }

  std::string name_;
  int documents_ = 0;
  std::int64_t total_ = 0;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, std::int64_t> sizes_;
};

// ---- reading ------------------------------------------------------------------------------------

std::string join(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) return fmt::format("'{}'", node.Scalar());
  if (node.IsMap()) return "a section";
  if (node.IsSequence()) return "a list";
  return "nothing";
}

template <typename Number>
bool parse_number(const std::string& text, Number& value) {
  const char* first = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* last = text.data() + text.size();
  const auto result = std::from_chars(first, last, value);
  return result.ec == std::errc() && result.ptr == last && first != last;
}

std::string bounds_text(const RealBounds& b) {
  std::string text;
  if (std::isfinite(b.min)) text = fmt::format("{} {}", b.min_open ? "above" : "at least", b.min);
  if (std::isfinite(b.max)) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", b.max_open ? "below" : "at most",
                        b.max);
  }
  return text;
}

class YamlReader : public FieldVisitor {
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
      path = join(path, key);
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
    scopes_.push_back({node, name.empty() ? prefix : join(prefix, name), {}, false});
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
      throw InputError(fmt::format("{}: the key '{}' is missing ({})",
                                   tree_.place(scope.node.Mark(), scope.path),
                                   join(scope.path, field.name), field.doc));
    }
    return std::nullopt;
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
    const auto path = join(scopes_.back().path, key);
    throw InputError(fmt::format("{}: {}: {}", tree_.place(node.Mark(), path), path, what));
  }

  const YamlDocument::Tree& tree_;
  std::vector<Scope> scopes_;
};

// ---- the section `sweep`, whose keys are names of other keys ------------------------------------

class SweepReader {
 public:
  explicit SweepReader(const YamlDocument::Tree& tree) : tree_(tree) {}

  SweepConfig read() {
    const YAML::Node node = std::as_const(tree_.root)["sweep"];
    if (!node.IsDefined() || !node.IsMap()) {
      throw InputError(
          fmt::format("{}: there is no section 'sweep'; `blockwise train` runs a file "
                      "without one",
                      tree_.name));
    }
    SweepConfig sweep;
    allow(node, {"method", "run_cap", "seeds", "baseline", "parameters", "groups"});
    if (node["method"]) sweep.method = word(node["method"], {"grid", "random"});
    if (node["run_cap"]) sweep.run_cap = whole(node["run_cap"]);
    read_seeds(node, sweep);
    if (node["baseline"]) sweep.baseline = scalar(node["baseline"]);
    if (node["parameters"]) sweep.parameters = parameters(node["parameters"]);
    if (node["groups"]) sweep.groups = groups(node["groups"]);
    check_method(node, sweep);
    check_baseline(node, sweep);
    return sweep;
  }

 private:
  void check_method(const YAML::Node& node, const SweepConfig& sweep) {
    if (sweep.method == "random" && sweep.run_cap < 1) {
      fail(node, "method random needs run_cap, the number of configurations, at least 1");
    }
  }

  void check_baseline(const YAML::Node& node, SweepConfig& sweep) {
    if (sweep.baseline.empty()) {
      if (!sweep.groups.empty()) sweep.baseline = sweep.groups.front().name;
      return;
    }
    std::vector<std::string> names;
    for (const auto& group : sweep.groups) names.push_back(group.name);
    word(node["baseline"], names);
  }

  void read_seeds(const YAML::Node& node, SweepConfig& sweep) {
    if (!node["seeds"]) {
      sweep.seeds = {1};
      return;
    }
    if (!node["seeds"].IsSequence() || node["seeds"].size() == 0) {
      fail(node["seeds"], "seeds is a list of whole numbers, for example [1, 2, 3]");
    }
    for (const auto& seed : node["seeds"]) sweep.seeds.push_back(whole(seed));
  }

  std::vector<SweepGroup> groups(const YAML::Node& node) {
    if (!node.IsSequence()) fail(node, "groups is a list; each item has name, set and parameters");
    std::vector<SweepGroup> groups;
    for (const auto& item : node) {
      if (!item.IsMap()) fail(item, "a group has name, set and parameters");
      allow(item, {"name", "set", "parameters"});
      if (!item["name"]) fail(item, "a group needs a name");
      auto& group = groups.emplace_back();
      group.name = scalar(item["name"]);
      if (item["set"]) {
        for (const auto& entry : item["set"]) {
          group.set.emplace_back(entry.first.Scalar(), setting(entry.second));
        }
      }
      if (item["parameters"]) group.parameters = parameters(item["parameters"]);
    }
    return groups;
  }

  std::vector<ParameterDomain> parameters(const YAML::Node& node) {
    if (!node.IsMap()) fail(node, "parameters maps keys to values, or to min and max");
    std::vector<ParameterDomain> domains;
    for (const auto& entry : node) {
      auto& domain = domains.emplace_back();
      domain.path = entry.first.Scalar();
      read_domain(entry.second, domain);
    }
    return domains;
  }

  void read_domain(const YAML::Node& node, ParameterDomain& domain) {
    if (!node.IsMap()) fail(node, "a parameter has value, values, or min and max");
    allow(node, {"value", "values", "min", "max", "distribution"});
    if (node["value"]) domain.values = {setting(node["value"])};
    if (node["values"]) {
      for (const auto& value : node["values"]) domain.values.push_back(setting(value));
    }
    if (!domain.values.empty()) return;
    if (!node["min"] || !node["max"]) fail(node, "a parameter has value, values, or min and max");
    domain.min = number(node["min"]);
    domain.max = number(node["max"]);
    if (domain.min >= domain.max) fail(node["min"], "min is not below max");
    std::int64_t whole_min = 0;
    const bool integers = parse_number(scalar(node["min"]), whole_min) &&
                          parse_number(scalar(node["max"]), whole_min);
    domain.distribution = integers ? "int_uniform" : "uniform";
    if (node["distribution"]) {
      domain.distribution =
          word(node["distribution"], {"uniform", "log_uniform_values", "int_uniform"});
    }
    if (domain.distribution == "log_uniform_values" && domain.min <= 0.0) {
      fail(node["min"], "log_uniform_values needs a min above 0");
    }
  }

  void allow(const YAML::Node& node, const std::vector<std::string>& keys) {
    for (const auto& entry : node) {
      const auto key = entry.first.Scalar();
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        fail(entry.first, fmt::format("unknown key '{}'{}", key, did_you_mean(key, keys)));
      }
    }
  }

  std::string scalar(const YAML::Node& node) {
    if (!node.IsScalar()) fail(node, "a single value is expected");
    return node.Scalar();
  }
  // What a member sets: a single value, or a list of them in one line.
  std::string setting(const YAML::Node& node) {
    if (!node.IsSequence()) return scalar(node);
    std::vector<std::string> parts;
    for (const auto& part : node) parts.push_back(scalar(part));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
  std::string word(const YAML::Node& node, const std::vector<std::string>& choices) {
    const auto text = scalar(node);
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      fail(node, fmt::format("'{}' is none of {}{}", text, fmt::join(choices, ", "),
                             did_you_mean(text, choices)));
    }
    return text;
  }
  double number(const YAML::Node& node) {
    double value = 0.0;
    if (!parse_number(scalar(node), value)) fail(node, "a number is expected");
    return value;
  }
  std::int64_t whole(const YAML::Node& node) {
    std::int64_t value = 0;
    if (!parse_number(scalar(node), value) || value < 0) {
      fail(node, "a whole number, at least 0, is expected");
    }
    return value;
  }
  [[noreturn]] void fail(const YAML::Node& node, const std::string& what) const {
    throw InputError(fmt::format("{}: sweep: {}", tree_.place(node.Mark(), "sweep"), what));
  }

  const YamlDocument::Tree& tree_;
};

}  // namespace

// ---- public -------------------------------------------------------------------------------------

YamlDocument::YamlDocument(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
YamlDocument::YamlDocument(YamlDocument&&) noexcept = default;
YamlDocument::~YamlDocument() = default;

YamlDocument YamlDocument::load(const std::filesystem::path& path) {
  return parse(read_text_file(path, kMaxBytes), path.string());
}

YamlDocument YamlDocument::parse(const std::string& text, const std::string& name) {
  require_input(text.size() <= kMaxBytes, "{}: {} bytes, at most {} are accepted", name,
                text.size(), kMaxBytes);
  auto tree = std::make_unique<Tree>();
  tree->name = name;
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    LimitChecker limits(name);
    while (parser.HandleNextDocument(limits)) {
    }
    tree->root = YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw InputError(
        fmt::format("{}:{}:{}: {}", name, error.mark.line + 1, error.mark.column + 1, error.msg));
  }
  require_input(tree->root.IsMap(), "{}:1:1: keys and values are expected, there is {}", name,
                shown(tree->root));
  return YamlDocument(std::move(tree));
}

YamlDocument YamlDocument::clone() const {
  // reset(), not =: assignment to a node changes what every handle of it sees, the original too.
  auto tree = std::make_unique<Tree>();
  tree->name = tree_->name;
  tree->origins = tree_->origins;
  tree->root.reset(YAML::Clone(tree_->root));
  return YamlDocument(std::move(tree));
}

void YamlDocument::set(const std::string& path, const std::string& value,
                       const std::string& origin) {
  require_input(!path.empty() && path.front() != '.' && path.back() != '.' &&
                    path.find("..") == std::string::npos,
                "{}: '{}' is not a key like optimizer.learning_rate", origin, path);
  YAML::Node node = tree_->root;
  std::istringstream parts(path);
  std::string key, walked;
  while (std::getline(parts, key, '.')) {
    require_input(node.IsMap() || node.IsNull() || !node.IsDefined(),
                  "{}: '{}' is not a section, so it has no key '{}'", origin, walked, key);
    walked = join(walked, key);
    node.reset(node[key]);
  }
  try {
    node = YAML::Load(value.empty() ? "''" : value);
  } catch (const YAML::Exception& error) {
    throw InputError(fmt::format("{}: {}", origin, error.msg));
  }
  tree_->origins[path] = origin;
}

void YamlDocument::set(const std::string& assignment) {
  const auto equals = assignment.find('=');
  require_input(equals != std::string::npos && equals > 0,
                "--set {}: the form is key=value, for example optimizer.learning_rate=1e-3",
                assignment);
  set(assignment.substr(0, equals), assignment.substr(equals + 1), "--set " + assignment);
}

bool YamlDocument::has_sweep() const { return std::as_const(tree_->root)["sweep"].IsDefined(); }

RunConfig YamlDocument::run_config() const {
  RunConfig config;
  YamlReader reader(*tree_);
  reader.allow_key("sweep");
  config.visit(reader);
  reader.finish();
  return config;
}

SweepConfig YamlDocument::sweep_config() const { return SweepReader(*tree_).read(); }

}  // namespace blockwise
