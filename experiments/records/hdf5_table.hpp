// Tables of an HDF5 file: a group of columns of equal length, one per field of a record. A record
// type says its columns in a specialisation of Table.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/error.hpp"
#include "core/io/hdf5_file.hpp"

namespace blockwise {

// What whole numbers of a file have to be where they are used as counts or as places.
struct NumberRange {
  bool checked = false;  // 0 at least
  const char* column =
      nullptr;  // below the rows of this one, the path of a column, where it is set
};
constexpr NumberRange counted() { return {true, nullptr}; }
constexpr NumberRange refers_to(const char* column) { return {true, column}; }

// One column of a table and the field of the record that it holds.
template <typename Row>
struct RowColumn {
  const char* name;
  std::variant<std::int64_t Row::*, double Row::*> field;
  const char* units;
  const char* description;
  NumberRange range = {};
};

// Specialised by whoever owns the record: `group` and `columns`.
template <typename Row>
struct Table;

template <typename Row>
std::string path_of(const RowColumn<Row>& column) {
  return fmt::format("{}/{}", Table<Row>::group, column.name);
}

inline void create_column(Hdf5File& file, const std::string& path, double, const char* units,
                          const char* description) {
  file.create_real_column(path, units, description);
}
inline void create_column(Hdf5File& file, const std::string& path, std::int64_t, const char* units,
                          const char* description) {
  file.create_integer_column(path, units, description);
}
inline std::vector<double> read_column(const Hdf5File& file, const std::string& path, double) {
  return file.real_column(path);
}
inline std::vector<std::int64_t> read_column(const Hdf5File& file, const std::string& path,
                                             std::int64_t) {
  return file.integer_column(path);
}

template <typename Row>
void create_table(Hdf5File& file) {
  file.create_group(Table<Row>::group);
  for (const auto& column : Table<Row>::columns) {
    std::visit(
        [&]<typename T>(T Row::*) {
          create_column(file, path_of(column), T{}, column.units, column.description);
        },
        column.field);
  }
}

template <typename Row>
void append_rows(Hdf5File& file, const std::vector<Row>& rows) {
  for (const auto& column : Table<Row>::columns) {
    std::visit(
        [&]<typename T>(T Row::*field) {
          std::vector<T> values(rows.size());
          std::ranges::transform(rows, values.begin(), field);
          file.append(path_of(column), std::span<const T>(values));
        },
        column.field);
  }
}

// A writer that was killed may have left some columns longer than others: the shortest one counts.
// One of an older version may lack columns.
template <typename Row>
std::int64_t row_count(const Hdf5File& file) {
  auto count = file.rows(path_of(Table<Row>::columns[0]));  // every version has the first
  for (const auto& column : Table<Row>::columns) {
    if (file.has(path_of(column))) count = std::min(count, file.rows(path_of(column)));
  }
  return count;
}

// Before start_swmr(): columns that an older version did not have, with the record's own values.
template <typename Row>
void add_missing_columns(Hdf5File& file) {
  const auto rows = static_cast<std::size_t>(row_count<Row>(file));
  for (const auto& column : Table<Row>::columns) {
    if (file.has(path_of(column))) continue;
    std::visit(
        [&]<typename T>(T Row::*field) {
          create_column(file, path_of(column), T{}, column.units, column.description);
          const std::vector<T> values(rows, Row{}.*field);
          file.append(path_of(column), std::span<const T>(values));
        },
        column.field);
  }
}

template <typename Row>
std::vector<Row> read_rows(const Hdf5File& file) {
  std::vector<Row> rows(static_cast<std::size_t>(row_count<Row>(file)));
  for (const auto& column : Table<Row>::columns) {
    if (!file.has(path_of(column))) continue;
    std::visit(
        [&]<typename T>(T Row::*field) {
          const auto values = read_column(file, path_of(column), T{});
          for (std::size_t i = 0; i < rows.size(); ++i) rows[i].*field = values[i];
        },
        column.field);
  }
  return rows;
}

// Drops the rows above `step`, by the first column, which ascends; returns the step of the last row
// that stays, -1 without one.
template <typename Row>
std::int64_t keep_rows_up_to(Hdf5File& file, std::int64_t step) {
  auto steps = file.integer_column(path_of(Table<Row>::columns[0]));
  steps.resize(static_cast<std::size_t>(row_count<Row>(file)));
  const auto end = std::ranges::upper_bound(steps, step);
  for (const auto& column : Table<Row>::columns) {
    file.truncate(path_of(column), end - steps.begin());
  }
  return end == steps.begin() ? -1 : *std::prev(end);
}

// Throws InputError "FILE: /a/b/c: row 3 is 7, allowed are 0 to 4" for the first number out of its
// column's range. rows_of(column) are the rows of a column that numbers refer to.
template <typename Row, typename RowsOf>
void check_rows(const std::vector<Row>& rows, const RowsOf& rows_of, const std::string& file) {
  for (const auto& column : Table<Row>::columns) {
    if (!column.range.checked) continue;
    const auto field = std::get<std::int64_t Row::*>(column.field);
    const auto end = column.range.column == nullptr ? std::numeric_limits<std::int64_t>::max()
                                                    : rows_of(column.range.column);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto value = rows[i].*field;
      require_input(value >= 0 && value < end, "{}: {}: row {} is {}, allowed are 0 to {}", file,
                    path_of(column), i, value, end - 1);
    }
  }
}

// Keeps the first `count` rows. Throws InputError where there are not as many.
template <typename Row>
void keep_first_rows(Hdf5File& file, std::int64_t count) {
  const auto rows = row_count<Row>(file);
  require_input(count >= 0 && count <= rows, "{}: {} rows are noted as complete, there are {}",
                Table<Row>::group, count, rows);
  for (const auto& column : Table<Row>::columns) file.truncate(path_of(column), count);
}

}  // namespace blockwise
