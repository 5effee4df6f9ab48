// The layouts of token files by name; token_file.hpp says what they are.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

enum class TokenLayout {
  llmc,  // the header says which of the two widths
  raw_uint16,
  raw_uint32
};

// What configurations and flags call them: auto (llm.c's), raw_uint16, raw_uint32.
inline const std::vector<std::string>& token_layout_names() {
  static const std::vector<std::string> names = {"auto", "raw_uint16", "raw_uint32"};
  return names;
}

}  // namespace blockwise
