// Cells and lines of CSV, RFC 4180.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// In quotes where it holds a comma, a quote or a line break.
std::string csv_cell(const std::string& text);
// With the line's end.
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace blockwise
