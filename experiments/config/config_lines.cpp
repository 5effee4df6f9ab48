#include "experiments/config/config_lines.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "core/text/yaml_text.hpp"

namespace blockwise {
namespace {

// Splits "key: value"; a text without a colon is a key alone.
std::pair<std::string, std::string> split(const std::string& text) {
  const auto colon = text.find(':');
  const auto value = colon == std::string::npos ? colon : text.find_first_not_of(' ', colon + 1);
  return {text.substr(0, colon), value == std::string::npos ? "" : text.substr(value)};
}

}  // namespace

ConfigLines::ConfigLines(const std::string& yaml) {
  std::istringstream text(yaml);
  std::vector<std::string> sections;
  for (std::string line; std::getline(text, line);) {
    const auto indent = line.find_first_not_of(' ');
    if (indent == std::string::npos) continue;
    sections.resize(std::min(indent / 2, sections.size()));
    const auto [key, value] = split(line.substr(indent));
    auto way = sections;
    way.push_back(key);
    lines_.push_back({indent, fmt::format("{}", fmt::join(way, ".")), value});
    if (value.empty()) sections.push_back(key);
  }
}

std::string ConfigLines::value(std::string_view path) const {
  const auto found = std::ranges::find(lines_, path, &ConfigLine::path);
  return found == lines_.end() ? "" : found->value;
}

std::vector<std::string> ConfigLines::names(std::string_view path) const {
  const auto map = parse_yaml(value(path), file_place(std::string(path)));
  std::vector<std::string> names;
  if (!map.IsMap()) return names;
  for (const auto& entry : map) names.push_back(entry.first.Scalar());
  return names;
}

void ConfigLines::set(std::string_view path, const std::string& value) {
  const auto found = std::ranges::find(lines_, path, &ConfigLine::path);
  if (found == lines_.end()) return;
  if (value.empty()) {
    lines_.erase(found);
  } else {
    found->value = value;
  }
}

std::string ConfigLines::yaml() const {
  std::string text;
  for (const auto& [indent, path, value] : lines_) {
    const auto dot = path.rfind('.');
    text += fmt::format("{:{}}{}:{}{}\n", "", indent,
                        dot == std::string::npos ? path : path.substr(dot + 1),
                        value.empty() ? "" : " ", value);
  }
  return text;
}

}  // namespace blockwise
