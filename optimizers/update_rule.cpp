#include "optimizers/update_rule.hpp"

#include <algorithm>
#include <numeric>

namespace blockwise {
namespace {

// Rows of a section that cannot be told apart without cutting a block.
std::int64_t unit_rows(const PartitionSection& section) {
  if (section.merged >= 0) return section.rows;
  switch (section.structure.kind) {
    case Structure::Kind::elements:
      return 1;
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return std::min(section.structure.tile_rows, section.rows);
    case Structure::Kind::factored:
    case Structure::Kind::labels:
      return section.rows;
  }
  return section.rows;
}

bool cuts_whole_blocks(const TensorPartition& partition, std::int64_t rows) {
  for (const auto& section : partition.sections) {
    const auto end = section.row_begin + section.rows;
    for (auto cut = (section.row_begin / rows + 1) * rows; cut < end; cut += rows) {
      if ((cut - section.row_begin) % unit_rows(section) != 0) return false;
    }
  }
  return true;
}

}  // namespace

std::int64_t UpdateRule::rows_together(const Parameter& parameter, const TensorPartition&) const {
  return parameter.rows();
}

std::int64_t rows_of_whole_blocks(const Parameter& parameter, const TensorPartition& partition) {
  std::int64_t rows = 1;
  for (const auto& section : partition.sections) {
    rows = std::lcm(rows, unit_rows(section));
    if (rows >= parameter.rows()) return parameter.rows();
  }
  return cuts_whole_blocks(partition, rows) ? rows : parameter.rows();
}

}  // namespace blockwise
