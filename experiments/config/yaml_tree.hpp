// The parsed tree behind a YamlDocument and how errors speak of it: for the readers of sections.
#pragma once

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "experiments/config/config_yaml.hpp"

namespace blockwise {

struct YamlDocument::Tree {
  std::string name;
  YAML::Node root;
  std::map<std::string, std::string> origins;  // of keys that were set, by path
  std::vector<std::string> hints;              // of keys that have moved

  // "file:line:column", or what set the key at this dotted path, a section around it or, where the
  // file has no such place, a key below it.
  std::string place(const YAML::Mark& mark, const std::string& path) const;
};

// Sets the key at a dotted path; see YamlDocument::set().
void set_key(YamlDocument::Tree& tree, const std::string& path, const std::string& value,
             const std::string& origin);
// Puts the keys of before to where they are now, with a hint each. InputError where both are there.
void move_former_keys(YamlDocument::Tree& tree);

// A dotted path.
std::string join_path(const std::string& prefix, std::string_view name);
// "'3'", "a section", "a list", "nothing".
std::string shown(const YAML::Node& node);

// The text as a YAML scalar: plain where that reads back as the same text, otherwise in double
// quotes.
std::string yaml_text(const std::string& text);

// Whether the whole text is a number, in the C locale.
template <typename Number>
bool parse_number(const std::string& text, Number& value) {
  const char* first = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* last = text.data() + text.size();
  const auto result = std::from_chars(first, last, value);
  return result.ec == std::errc() && result.ptr == last && first != last;
}

}  // namespace blockwise
