#include "core/partition/partition_rows.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

// Heads along rows of which only some are left; none where a head is cut.
Heads heads_of_rows(Heads heads, std::int64_t rows) {
  if (heads.count > 0 && heads.axis == Heads::Axis::rows) {
    heads.count = rows % heads.dim == 0 ? rows / heads.dim : 0;
  }
  return heads;
}

std::vector<FusedSection> sections_of_rows(const std::vector<FusedSection>& sections,
                                           std::int64_t begin, std::int64_t rows) {
  std::vector<FusedSection> cut;
  std::int64_t row = 0;
  for (const auto& section : sections) {
    const auto first = std::max(begin, row), last = std::min(begin + rows, row + section.rows);
    row += section.rows;
    if (first >= last) continue;
    cut.push_back({section.role, last - first, heads_of_rows(section.heads, last - first)});
  }
  return cut;
}

}  // namespace

Parameter parameter_rows(const Parameter& parameter, std::int64_t begin, std::int64_t rows) {
  auto piece = parameter;
  check_equal(begin >= 0 && rows > 0 && rows <= parameter.rows() - begin, true,
              "rows of a piece of " + parameter.name);
  piece.shape[0] = rows;
  piece.offset = parameter.offset + begin * parameter.columns();
  piece.sections = sections_of_rows(parameter.sections, begin, rows);
  piece.heads = heads_of_rows(parameter.heads, rows);
  return piece;
}

TensorPartition partition_rows(const TensorPartition& partition, std::int64_t begin,
                               std::int64_t rows) {
  TensorPartition piece;
  std::int64_t state = 0;
  for (const auto& section : partition.sections) {
    const auto first = std::max(begin, section.row_begin);
    const auto last = std::min(begin + rows, section.row_begin + section.rows);
    if (first >= last) continue;
    auto part = section;
    part.row_begin = first - begin;
    part.rows = last - first;
    part.structure.tile_rows = std::min(part.structure.tile_rows, part.rows);
    part.state_offset = state;
    state += part.state_size();
    piece.sections.push_back(std::move(part));
  }
  return piece;
}

}  // namespace blockwise
