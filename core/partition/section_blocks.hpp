// What a section's structure says of its elements: which block each is in, what a block looks like,
// and values of blocks at their elements. Whoever needs that asks here, not the structure's kind.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "core/partition/partition.hpp"

namespace blockwise {

// Which block an element is in, 0 .. section.block_count() - 1; a factored group of rows is one.
std::int64_t block_of(const PartitionSection& section, std::int64_t row, std::int64_t column);

// Of every element, row-major, [section.size()].
std::vector<std::int64_t> labels_of(const PartitionSection& section);

// One value per block at every element of it: values [block_count], on any device, become what
// broadcasts to [rows, columns], with spread(section, values)[row, column] =
// values[block_of(section, row, column)].
at::Tensor spread(const PartitionSection& section, const at::Tensor& values);

// The rectangle that a block is, but for those at the last rows and columns, which may be smaller;
// no larger than the section. None for labels.
struct TileShape {
  std::int64_t rows = 1, columns = 1;
};
std::optional<TileShape> tile_of(const PartitionSection& section);

}  // namespace blockwise
