#include "experiments/sweeps/csv_text.hpp"

namespace blockwise {

// Appends rather than adds: the compiler's overflow check takes sums of strings for larger ones.
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted(1, '"');
  for (const char c : text) {
    if (c == '"') quoted.push_back(c);
    quoted.push_back(c);
  }
  quoted.push_back('"');
  return quoted;
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line.push_back(',');
    line.append(csv_cell(cells[i]));
  }
  line.push_back('\n');
  return line;
}

}  // namespace blockwise
