// A field that is a map from names to texts, for the visitors that know maps.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/fields.hpp"

namespace blockwise {

// In the order in which they were given; no name twice.
using TextMap = std::vector<std::pair<std::string, std::string>>;

class TextMapVisitor {
 public:
  virtual ~TextMapVisitor() = default;
  virtual void text_map(const Field& field, TextMap& values) = 0;
};

// Other visitors see a list of NAME: TEXT, which they cannot change.
inline void visit_text_map(FieldVisitor& v, const Field& field, TextMap& values) {
  if (auto* maps = dynamic_cast<TextMapVisitor*>(&v)) return maps->text_map(field, values);
  std::vector<std::string> entries;
  for (const auto& [name, text] : values) entries.push_back(name + ": " + text);
  v.text_list(field, entries);
}

}  // namespace blockwise
