#include "experiments/records/hessian_commits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "experiments/records/hessian_rows.hpp"

namespace blockwise {
namespace {

const std::string kCommits = "/hessian/commits";
const std::string kStep = kCommits + "/step";

// The column that counts the rows of the table with this group.
std::string column_of(const std::string& group) {
  return kCommits + group.substr(group.find_last_of('/'));
}

// visit(column, rows of its table now) for every table.
template <typename Visit>
void for_each_column(const Visit& visit) {
  const HessianRows none;
  for_each_table(none, [&](const auto& rows) {
    using Row = RowOf<decltype(rows)>;
    visit(column_of(Table<Row>::group), row_count<Row>);
  });
}

void append_one(Hdf5File& file, const std::string& column, std::int64_t value) {
  file.append(column, std::span<const std::int64_t>(&value, 1));
}

// Whole ones: the shortest column counts.
std::int64_t commit_count(const Hdf5File& file) {
  auto count = file.rows(kStep);
  for_each_column([&](const std::string& column, const auto&) {
    if (file.has(column)) count = std::min(count, file.rows(column));
  });
  return count;
}

void keep_first_commits(Hdf5File& file, std::int64_t count) {
  file.truncate(kStep, count);
  for_each_column([&](const std::string& column, const auto&) { file.truncate(column, count); });
}

}  // namespace

void create_commits(Hdf5File& file) {
  file.create_group(kCommits);
  file.create_integer_column(kStep, "1", "optimizer steps done");
  for_each_column([&](const std::string& column, const auto&) {
    file.create_integer_column(column, "1", "complete rows of the table of this name");
  });
}

void append_commit(Hdf5File& file, std::int64_t step) {
  append_one(file, kStep, step);
  for_each_column([&](const std::string& column, const auto& rows_of_table) {
    append_one(file, column, rows_of_table(file));
  });
}

std::int64_t committed_rows(const Hdf5File& file, const std::string& group) {
  const auto count = commit_count(file);
  const auto column = column_of(group);
  if (count == 0 || !file.has(column)) return 0;
  return file.integer_column(column)[static_cast<std::size_t>(count - 1)];
}

void keep_commits_up_to(Hdf5File& file, std::int64_t step) {
  auto steps = file.integer_column(kStep);
  steps.resize(static_cast<std::size_t>(commit_count(file)));
  keep_first_commits(file, std::ranges::upper_bound(steps, step) - steps.begin());
}

void drop_unfinished_commit(Hdf5File& file) { keep_first_commits(file, commit_count(file)); }

}  // namespace blockwise
