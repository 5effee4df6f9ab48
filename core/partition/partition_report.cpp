#include "core/partition/partition_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/partition/section_blocks.hpp"
#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

// "64 x 128"; of a factored group its rows and its columns, which have values of their own.
std::string block_shape(const PartitionSection& s) {
  const auto tile = tile_of(s);
  if (!tile) return "by label";
  if (s.structure.kind == Structure::Kind::elements) return "1";
  const char between = s.structure.kind == Structure::Kind::factored ? '+' : 'x';
  return fmt::format("{} {} {}", tile->rows, between, tile->columns);
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
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    for (const auto& s : partition.tensors()[i].sections) {
      table.add({layout.parameters()[i].name, std::string(role_name(s.role)), s.rule,
                 std::string(structure_name(s.structure.kind)), fmt::format("{}", s.block_count()),
                 block_shape(s), fmt::format("{}", s.state_size())});
    }
  }
  return table.text(width) + wrapped(totals_of(layout, partition), width, 2);
}

}  // namespace blockwise
