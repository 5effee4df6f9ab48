#include "experiments/config_yaml.hpp"

#include <fmt/format.h>

#include <sstream>

#include "core/error.hpp"
#include "core/io/input_file.hpp"
#include "experiments/run_config_reader.hpp"
#include "experiments/sweep_config_reader.hpp"
#include "experiments/yaml_limits.hpp"
#include "experiments/yaml_tree.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

}  // namespace

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
    check_yaml_limits(text, name);
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
    walked = join_path(walked, key);
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

RunConfig YamlDocument::run_config() const { return read_run_config(*tree_); }

SweepConfig YamlDocument::sweep_config() const { return read_sweep_config(*tree_); }

}  // namespace blockwise
