#include "experiments/config/config_lines.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "core/text/yaml_text.hpp"
#include "experiments/config/former_keys.hpp"

namespace blockwise {
namespace {

// Splits "key: value"; a text without a colon is a key alone.
std::pair<std::string, std::string> split(const std::string& text) {
  const auto colon = text.find(':');
  const auto value = colon == std::string::npos ? colon : text.find_first_not_of(' ', colon + 1);
  return {text.substr(0, colon), value == std::string::npos ? "" : text.substr(value)};
}

const ConfigLine* find(const std::vector<ConfigLine>& lines, std::string_view path) {
  const auto found = std::ranges::find(lines, path, &ConfigLine::path);
  return found == lines.end() ? nullptr : &*found;
}

// Keys of `hessian`, all at one depth, in the order of before.
std::vector<ConfigLine> flat(const std::vector<ConfigLine>& lines) {
  std::vector<ConfigLine> keys;
  for (const auto& key : hessian_keys()) {
    if (const auto* line = find(lines, key.now)) {
      keys.push_back({2, std::string(key.former), line->value});
    }
  }
  return keys;
}

// "hessian.lanczos" of "hessian.lanczos.steps", "hessian" of "hessian.every".
std::string section_of(std::string_view path) {
  return std::string(path.substr(0, path.rfind('.')));
}

// Keys of `hessian` of any version, in their sections of now.
std::vector<ConfigLine> nested(const std::vector<ConfigLine>& lines) {
  std::vector<std::string> sections;
  std::map<std::string, std::vector<ConfigLine>> keys;
  for (const auto& key : hessian_keys()) {
    const auto line = std::ranges::find_if(
        lines, [&](const auto& each) { return present_key(each.path) == key.now; });
    if (line == lines.end()) continue;
    const auto section = section_of(key.now);
    if (!keys.contains(section)) sections.push_back(section);
    keys[section].push_back({section == "hessian" ? 2u : 4u, std::string(key.now), line->value});
  }
  std::vector<ConfigLine> all;
  for (const auto& section : sections) {
    if (section != "hessian") all.push_back({2, section, ""});
    all.insert(all.end(), keys[section].begin(), keys[section].end());
  }
  return all;
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
  const bool moved = std::ranges::any_of(
      lines_, [](const auto& line) { return present_key(line.path) != line.path; });
  if (moved) replace_hessian(nested(lines_));
}

void ConfigLines::replace_hessian(const std::vector<ConfigLine>& keys) {
  const auto head = std::ranges::find(lines_, "hessian", &ConfigLine::path);
  if (head == lines_.end()) return;
  const auto place = head - lines_.begin() + 1;
  std::erase_if(lines_, [](const auto& line) { return line.path.starts_with("hessian."); });
  lines_.insert(lines_.begin() + place, keys.begin(), keys.end());
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

std::string ConfigLines::former_yaml() const {
  auto former = *this;
  former.replace_hessian(flat(lines_));
  return former.yaml();
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
