// YAML that somebody else wrote, as a tree. What it may be is checked on the parser's events before
// anything is built from it; errors say where, in our words.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <functional>
#include <string>

namespace blockwise {

struct YamlLimits {
  std::int64_t nodes = 100'000;  // once aliases are expanded
  int depth = 64;
};

// "FILE:3:7" of a line and a column that count from 1; for a text that is no file, what it is.
using YamlPlace = std::function<std::string(int line, int column)>;
YamlPlace file_place(std::string name);

// Throws InputError "PLACE: ..." for a text that is not YAML, is nested too deeply, has too many
// nodes, an alias inside its own anchor, or a second document. The text's length is bounded by
// whoever reads it. Time and memory: O(length), the tree's nodes some 200 bytes each.
YAML::Node parse_yaml(const std::string& text, const YamlPlace& place,
                      const YamlLimits& limits = {});

}  // namespace blockwise
