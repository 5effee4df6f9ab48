#include "experiments/config/yaml_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "core/base/error.hpp"
#include "experiments/config/former_keys.hpp"

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

namespace {

// The section of `tree` at "hessian.lanczos", made where it is not there.
YAML::Node section_at(YAML::Node parent, const std::string& name) {
  YAML::Node section = std::as_const(parent)[name];
  if (section.IsDefined()) return section;
  YAML::Node made(YAML::NodeType::Map);
  parent[name] = made;
  return made;
}

void move_key(YamlDocument::Tree& tree, YAML::Node hessian, const FormerKey& key) {
  const auto name = std::string(key.former.substr(key.former.find('.') + 1));
  const auto now = std::string(key.now.substr(key.now.find('.') + 1));
  const auto dot = now.find('.');
  YAML::Node value = std::as_const(hessian)[name];
  if (dot == std::string::npos || !value.IsDefined()) return;
  const auto place = tree.place(value.Mark(), std::string(key.former));
  auto section = section_at(hessian, now.substr(0, dot));
  require_input(section.IsMap(), "{}: hessian.{} is not a section, so {} cannot be its {}", place,
                now.substr(0, dot), key.former, key.now);
  const auto leaf = now.substr(dot + 1);
  require_input(!std::as_const(section)[leaf].IsDefined(), "{}: {} is now {}, which is there, too",
                place, key.former, key.now);
  section[leaf] = value;
  hessian.remove(name);
  tree.hints.push_back(moved_text(place, std::string(key.former)));
}

void rename_section(YamlDocument::Tree& tree, YAML::Node hessian, const FormerKey& key) {
  const auto name = std::string(key.former.substr(key.former.find('.') + 1));
  const auto now = std::string(key.now.substr(key.now.find('.') + 1));
  YAML::Node section = std::as_const(hessian)[name];
  if (!section.IsDefined()) return;
  const auto place = tree.place(section.Mark(), std::string(key.former));
  require_input(!std::as_const(hessian)[now].IsDefined(), "{}: {} is now {}, which is there, too",
                place, key.former, key.now);
  hessian[now] = section;
  hessian.remove(name);
  tree.hints.push_back(moved_text(place, std::string(key.former)));
}

}  // namespace

void move_former_keys(YamlDocument::Tree& tree) {
  const YAML::Node hessian = std::as_const(tree.root)["hessian"];
  if (!hessian.IsDefined() || !hessian.IsMap()) return;
  rename_section(tree, hessian, kRenamedSection);
  for (const auto& key : hessian_keys()) move_key(tree, hessian, key);
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

}  // namespace blockwise
