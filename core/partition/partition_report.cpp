#include "core/partition/partition_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

std::string block_shape(const PartitionSection& s) {
  switch (s.structure.kind) {
    case Structure::Kind::elements:
      return "1";
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return fmt::format("{} x {}", std::min(s.structure.tile_rows, s.rows),
                         std::min(s.structure.tile_columns, s.columns));
    case Structure::Kind::factored:
      return fmt::format("{} + {}", std::min(s.structure.tile_rows, s.rows), s.columns);
    case Structure::Kind::labels:
      return "by label";
  }
  return "";
}

std::string totals_of(const ParameterLayout& layout, const Partition& partition) {
  return fmt::format(
      "{} parameters in {} blocks; second moment: {} values, {:.4g} % of AdamW's\n", layout.size(),
      partition.block_count(), partition.state_size(),
      100.0 * static_cast<double>(partition.state_size()) / static_cast<double>(layout.size()));
}

}  // namespace

std::string partition_table(const ParameterLayout& layout, const Partition& partition,
                            std::size_t width) {
  TextTable table({key_column("tensor"), text_column("role"), text_column("rule"),
                   text_column("kind"), value_column("blocks"), value_column("block"),
                   value_column("values")});
  for (std::size_t i = 0; i < layout.blocks().size(); ++i) {
    for (const auto& s : partition.tensors()[i].sections) {
      table.add({layout.blocks()[i].name, std::string(role_name(s.role)), s.rule,
                 std::string(structure_name(s.structure.kind)), fmt::format("{}", s.block_count()),
                 block_shape(s), fmt::format("{}", s.state_size())});
    }
  }
  return table.text(width) + wrapped(totals_of(layout, partition), width, 2);
}

}  // namespace blockwise
