#include "experiments/records/hessian_row_checks.hpp"

namespace blockwise {

HessianExtents extents_of(const HessianTables& tables, const ParameterLayout& layout) {
  return {{HessianObjects::parts, std::ssize(tables.parts)},
          {HessianObjects::symmetries, std::ssize(tables.symmetries)},
          {HessianObjects::rules, std::ssize(tables.rules)},
          {HessianObjects::functions, std::ssize(tables.functions)},
          {HessianObjects::tensors, std::ssize(layout.parameters())}};
}

HessianExtents read_hessian_extents(const Hdf5File& file) {
  auto extents = extents_of({}, ParameterLayout());
  for (auto& [column, rows] : extents) rows = file.has(column) ? file.rows(column) : 0;
  return extents;
}

void check_hessian_rows(const HessianRows& rows, const HessianExtents& extents,
                        const std::string& file) {
  const auto rows_of = [&](const char* column) { return extents.at(column); };
  for_each_table(rows, [&](const auto& table) { check_rows(table, rows_of, file); });
}

}  // namespace blockwise
