#include "experiments/records/hessian_recorder.hpp"

#include <cmath>

#include "experiments/records/fixed_columns.hpp"
#include "experiments/records/hessian_commits.hpp"

namespace blockwise {
namespace {

void write_names(Hdf5File& file, const std::string& group, const std::vector<std::string>& names,
                 const char* doc) {
  file.create_group(group);
  write_texts(file, group + "/name", names, doc, [](auto& name) { return name; });
}

// visit.operator()<Row>() for every table.
template <typename Visit>
void for_each_row_type(const Visit& visit) {
  const HessianRows none;
  for_each_table(none,
                 [&](const auto& rows) { visit.template operator()<RowOf<decltype(rows)>>(); });
}

std::int64_t newest_step(const HessianRows& rows) {
  std::int64_t step = 0;
  for_each_table(rows, [&](const auto& table) {
    if (!table.empty()) step = std::max(step, table.back().step);
  });
  return step;
}

}  // namespace

double known(double end) { return std::isfinite(end) ? end : kUnknown; }

void HessianRows::append(const HessianRows& more) {
  const auto add = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  std::apply([&](auto... table) { (add(this->*table, more.*table), ...); }, kHessianTables);
}

void create_hessian_tables(Hdf5File& file, const ParameterLayout& layout,
                           const HessianTables& tables) {
  file.create_group("/hessian");
  write_parts(file, tables.parts);
  write_parameters(file, layout);
  write_examples(file, tables.examples);
  write_points(file, tables.points);
  write_names(file, "/hessian/symmetry_names", tables.symmetries, "scaling symmetry");
  write_names(file, "/hessian/rules", tables.rules, "partition rule");
  write_names(file, "/hessian/function_names", tables.functions, "function of the spectrum");
  for_each_row_type([&]<typename Row>() { create_table<Row>(file); });
  create_commits(file);
}

void append_hessian_rows(Hdf5File& file, const HessianRows& rows) {
  for_each_table(rows, [&](const auto& table) { append_rows(file, table); });
  file.flush();
  append_commit(file, newest_step(rows));
  file.flush();
}

HessianRows read_hessian_rows(const Hdf5File& file) {
  HessianRows result;
  for_each_table(result, [&](auto& rows) { rows = read_rows<RowOf<decltype(rows)>>(file); });
  return result;
}

void keep_hessian_rows_up_to(Hdf5File& file, std::int64_t step) {
  if (!file.has("/hessian")) return;
  keep_complete_hessian_rows(file);
  for_each_row_type([&]<typename Row>() { keep_rows_up_to<Row>(file, step); });
  keep_commits_up_to(file, step);
}

void keep_complete_hessian_rows(Hdf5File& file) {
  for_each_row_type([&]<typename Row>() { add_missing_columns<Row>(file); });
  for_each_row_type(
      [&]<typename Row>() { keep_first_rows<Row>(file, committed_rows(file, Table<Row>::group)); });
  drop_unfinished_commit(file);
}

}  // namespace blockwise
