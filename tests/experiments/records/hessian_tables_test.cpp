// Tables of /hessian: what a column's declaration says holds for writing, reading, cutting and
// checking, of every column of every table.
#include <fmt/format.h>

#include <cmath>

#include "core/base/error.hpp"
#include "experiments/records/hessian_commits.hpp"
#include "experiments/records/hessian_row_checks.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

// Two rows of every table, of steps 1 and 2, whose numbers are all different but small.
HessianRows some_rows() {
  HessianRows rows;
  for_each_table(rows, [](auto& table) {
    using Row = RowOf<decltype(table)>;
    for (std::int64_t step = 1; step <= 2; ++step) {
      Row row;
      std::int64_t number = 0;
      for (const auto& column : Table<Row>::columns) {
        std::visit([&](auto field) { row.*field = step == 1 ? number % 2 : 1; }, column.field);
        ++number;
      }
      row.step = step;
      table.push_back(row);
    }
  });
  return rows;
}

HessianExtents two_of_each() {
  auto extents = extents_of({}, ParameterLayout());
  for (auto& [column, rows] : extents) rows = 2;
  return extents;
}

Hdf5File new_file(const std::filesystem::path& path) {
  auto file = Hdf5File::create(path);
  HessianTables tables;
  create_hessian_tables(file, ParameterLayout(), tables);
  return file;
}

void check_same(const HessianRows& a, const HessianRows& b) {
  std::apply(
      [&](auto... table) {
        const auto check = [&](const auto& x, const auto& y) {
          using Row = RowOf<decltype(x)>;
          REQUIRE(x.size() == y.size());
          for (std::size_t i = 0; i < x.size(); ++i) {
            for (const auto& column : Table<Row>::columns) {
              INFO(path_of(column) << " row " << i);
              std::visit([&](auto field) { CHECK(x[i].*field == y[i].*field); }, column.field);
            }
          }
        };
        (check(a.*table, b.*table), ...);
      },
      kHessianTables);
}

}  // namespace

TEST_CASE("Hessian tables: what is appended is read, in every column") {
  const TemporaryFolder folder;
  auto file = new_file(folder / "a.h5");
  append_hessian_rows(file, some_rows());
  check_same(read_hessian_rows(file), some_rows());
  append_hessian_rows(file, some_rows());
  CHECK(read_hessian_rows(file).quadrature.size() == 4);
}

TEST_CASE("Hessian tables: every table is cut at a step, and its commits with it") {
  const TemporaryFolder folder;
  auto file = new_file(folder / "a.h5");
  HessianRows first, second;
  for_each_table(first, [](auto& table) { table.emplace_back().step = 1; });
  for_each_table(second, [](auto& table) { table.emplace_back().step = 2; });
  append_hessian_rows(file, first);
  append_hessian_rows(file, second);
  keep_hessian_rows_up_to(file, 1);
  const auto left = read_hessian_rows(file);
  for_each_table(left, [&](const auto& table) {
    using Row = RowOf<decltype(table)>;
    INFO(Table<Row>::group);
    REQUIRE(table.size() == 1);
    CHECK(table[0].step == 1);
    CHECK(committed_rows(file, Table<Row>::group) == 1);
  });
}

TEST_CASE("Hessian tables: rows behind the last commit go, of every table") {
  const TemporaryFolder folder;
  auto file = new_file(folder / "a.h5");
  append_hessian_rows(file, some_rows());
  const auto more = some_rows();
  for_each_table(more, [&](const auto& table) { append_rows(file, table); });  // killed here
  keep_complete_hessian_rows(file);
  check_same(read_hessian_rows(file), some_rows());
}

TEST_CASE("Hessian tables: a file of before a column gets it, with the record's own values") {
  const TemporaryFolder folder;
  auto file = new_file(folder / "a.h5");
  append_hessian_rows(file, some_rows());
  for (const auto* column : {"/hessian/summary/copies_found", "/hessian/eigenvalues/converged",
                             "/hessian/functions/low"}) {
    file.remove(column);
  }
  file.close();
  auto again = Hdf5File::open_for_appending(folder / "a.h5");
  keep_complete_hessian_rows(again);
  const auto rows = read_hessian_rows(again);
  REQUIRE(rows.summary.size() == 2);
  REQUIRE(rows.eigenvalues.size() == 2);
  REQUIRE(rows.functions.size() == 2);
  CHECK(rows.summary[1].copies_found == 0);
  CHECK(rows.eigenvalues[1].converged == -1);
  CHECK(std::isnan(rows.functions[1].low));
  CHECK(rows.functions[1].value == 1.0);
}

// The kind of damage, not an instance: every number that is a place or a count, each by itself.
TEST_CASE("Hessian tables: each number that refers to something is checked, and named") {
  CHECK_NOTHROW(check_hessian_rows(some_rows(), two_of_each(), "a.h5"));
  std::int64_t checked = 0;
  auto rows = some_rows();
  for_each_table(rows, [&](auto& table) {
    using Row = RowOf<decltype(table)>;
    for (const auto& column : Table<Row>::columns) {
      if (!column.range.checked) continue;
      auto& number = table[1].*std::get<std::int64_t Row::*>(column.field);
      const auto good = number;
      for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{2}}) {
        if (bad == 2 && column.range.column == nullptr) continue;  // a count may be any
        number = bad;
        CHECK_THROWS_WITH(check_hessian_rows(rows, two_of_each(), "a.h5"),
                          Contains(fmt::format("a.h5: {}: row 1 is {}, allowed are 0 to ",
                                               path_of(column), bad)));
      }
      number = good;
      ++checked;
    }
  });
  // As many as were checked when each was a line of its own.
  CHECK(checked == 31);
}

TEST_CASE("Hessian tables: extents are those of the file's own tables") {
  const TemporaryFolder folder;
  auto file = new_file(folder / "a.h5");
  const auto extents = read_hessian_extents(file);
  CHECK(extents.size() == 5);
  CHECK(extents.at(HessianObjects::parts) == 0);
}
