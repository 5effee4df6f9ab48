#include "experiments/config/yaml_tree.hpp"

#include <fmt/format.h>

namespace blockwise {

std::string YamlDocument::Tree::place(const YAML::Mark& mark, const std::string& path) const {
  for (auto key = path;; key.resize(key.rfind('.'))) {
    const auto found = origins.find(key);
    if (found != origins.end()) return found->second;
    if (key.find('.') == std::string::npos) break;
  }
  if (!mark.is_null()) return fmt::format("{}:{}:{}", name, mark.line + 1, mark.column + 1);
  // A section that is in no file, but was made for a key in it.
  const auto below = origins.lower_bound(path.empty() ? path : path + ".");
  return below != origins.end() && below->first.starts_with(path) ? below->second : name;
}

std::string join_path(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) return fmt::format("'{}'", node.Scalar());
  if (node.IsMap()) return "a section";
  if (node.IsSequence()) return "a list";
  return "nothing";
}

}  // namespace blockwise
