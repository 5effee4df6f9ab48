#include "core/partition/section_blocks.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace blockwise {

using Kind = Structure::Kind;

std::optional<TileShape> tile_of(const PartitionSection& s) {
  switch (s.structure.kind) {
    case Kind::elements:
      return TileShape{1, 1};
    case Kind::tiles:
    case Kind::none:
      return TileShape{std::min(s.structure.tile_rows, s.rows),
                       std::min(s.structure.tile_columns, s.columns)};
    case Kind::factored:
      return TileShape{std::min(s.structure.tile_rows, s.rows), s.columns};
    case Kind::labels:
      break;
  }
  return std::nullopt;
}

std::int64_t block_of(const PartitionSection& s, std::int64_t row, std::int64_t column) {
  if (s.structure.kind == Kind::labels) {
    return s.structure.labels[static_cast<std::size_t>(row * s.columns + column)];
  }
  // Tiles in row-major order; for elements a tile is one of them, for factored all columns.
  const auto tile = *tile_of(s);
  const auto across = (s.columns + tile.columns - 1) / tile.columns;
  return row / tile.rows * across + column / tile.columns;
}

std::vector<std::int64_t> labels_of(const PartitionSection& s) {
  std::vector<std::int64_t> labels;
  labels.reserve(static_cast<std::size_t>(s.size()));
  for (std::int64_t row = 0; row < s.rows; ++row) {
    for (std::int64_t column = 0; column < s.columns; ++column) {
      labels.push_back(block_of(s, row, column));
    }
  }
  return labels;
}

at::Tensor spread(const PartitionSection& s, const at::Tensor& values) {
  if (s.structure.kind == Kind::elements) return values.view({s.rows, s.columns});
  if (s.structure.kind == Kind::labels) {
    const auto labels = at::tensor(at::ArrayRef<std::int32_t>(s.structure.labels), at::kLong);
    return values.index_select(0, labels.to(values.device())).view({s.rows, s.columns});
  }
  const auto tile = *tile_of(s);
  const auto grid = values.view({s.tile_grid_rows(), -1});  // [tiles down, tiles across]
  const auto down = grid.repeat_interleave(tile.rows, 0).narrow(0, 0, s.rows);
  if (s.structure.kind == Kind::factored) return down;
  return down.repeat_interleave(tile.columns, 1).narrow(1, 0, s.columns);
}

}  // namespace blockwise
