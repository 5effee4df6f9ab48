#include "optimizers/row_pieces.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/base/checked_math.hpp"
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

std::vector<std::int64_t> row_cuts(const UpdateRule& rule, const Parameter& parameter,
                                   const TensorPartition& partition, std::int64_t pieces) {
  const auto unit = rule.rows_together(parameter, partition);
  const auto units = ceil_divide(parameter.rows(), unit);
  const auto count = std::min(pieces, units);
  std::vector<std::int64_t> cuts;
  for (std::int64_t i = 0; i < count; ++i) cuts.push_back(i * units / count * unit);
  cuts.push_back(parameter.rows());
  return cuts;
}

std::vector<std::vector<at::Tensor>> cut_state(const UpdateRule& rule, const Parameter& parameter,
                                               const TensorPartition& partition, const State& state,
                                               const std::vector<std::int64_t>& cuts) {
  std::vector<std::vector<at::Tensor>> pieces(state.size());
  std::vector<std::int64_t> next(state.size(), 0);
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    const auto rows = cuts[i + 1] - cuts[i];
    const auto specs = rule.state(parameter_rows(parameter, cuts[i], rows),
                                  partition_rows(partition, cuts[i], rows));
    for (std::size_t k = 0; k < specs.size(); ++k) {
      if (specs[k].is_chosen_later()) {  // of a rule that cuts no rows
        pieces[k].push_back(state.load(k));
        next[k] += state.load(k).numel();
        continue;
      }
      const auto flat = state.load(k).view({-1});
      pieces[k].push_back(flat.narrow(0, next[k], specs[k].size()).view(specs[k].shape));
      next[k] += specs[k].size();
    }
  }
  for (std::size_t k = 0; k < next.size(); ++k) {
    check_equal(next[k], state.load(k).numel(), "values of the pieces of " + parameter.name);
  }
  return pieces;
}

}  // namespace blockwise
