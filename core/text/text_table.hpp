// Tables for people: every table that is printed is one of these.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/text/display_width.hpp"

namespace blockwise {

struct TableColumn {
  // What becomes of it where a line has no room for all: a key begins every line, values go on in a
  // further table below with the keys repeated, details are left out and named.
  enum class Use { key, value, detail };
  enum class Alignment { left, right };

  std::string title;
  Use use = Use::value;
  Alignment alignment = Alignment::right;
};

TableColumn key_column(std::string title);    // flush left
TableColumn text_column(std::string title);   // a value, flush left
TableColumn value_column(std::string title);  // flush right
TableColumn detail_column(std::string title);

// Cells are text without control characters. Columns are as wide as their widest cell, two spaces
// apart. No line is wider than the width that is asked for, from 16 columns on: where it is not
// enough, first the details go, from the last on, then the values are spread over several tables,
// then cells are broken over several lines.
class TextTable {
 public:
  explicit TextTable(std::vector<TableColumn> columns);
  // Throws InvariantError for another number of cells than of columns.
  void add(std::vector<std::string> cells);
  // The title line, a line per row, and where details are left out a line that says so.
  std::string text(std::size_t width = kUnlimitedWidth) const;

 private:
  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace blockwise
