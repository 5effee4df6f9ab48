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

// One column of a table and the field of the record that it holds.
template <typename Row>
struct Column {
  const char* name;
  std::variant<std::int64_t Row::*, double Row::*> field;
  const char* units;
  const char* description;
};

// Specialised by whoever owns the record: `group` and `columns`.
template <typename Row>
struct Table;

template <typename Row>
std::string path_of(const Column<Row>& column) {
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

// Keeps the first `count` rows. Throws InputError where there are not as many.
template <typename Row>
void keep_first_rows(Hdf5File& file, std::int64_t count) {
  const auto rows = row_count<Row>(file);
  require_input(count >= 0 && count <= rows, "{}: {} rows are noted as complete, there are {}",
                Table<Row>::group, count, rows);
  for (const auto& column : Table<Row>::columns) file.truncate(path_of(column), count);
}

}  // namespace blockwise
