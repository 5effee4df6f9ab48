// Partition: which elements of the parameters share one second moment (or one learning rate).
//
// Every tensor is seen as a matrix [rows, columns] (a vector is [n, 1]) and cut into sections of
// consecutive rows, one per role (a fused QKV has three); each section has one structure:
//
//   elements   one value per element: rows * columns values (AdamW)
//   tiles      tile_rows x tile_columns tiles in row-major order; the last row and column of tiles
//              may be smaller: ceil(rows / tile_rows) * ceil(columns / tile_columns) values
//   factored   groups of tile_rows rows, each a rank-one product:  v_ij = r_i c_j / mean(r)
//              (Shazeer and Stern 2018, arXiv 1804.04235, eq. 4): one value per row and, per group,
//              one per column
//   labels     an explicit block number per element, row-major, 0 .. label_count - 1
//   none       no second moment, v = 1; tiles as above are blocks that have a learning rate each
//
// The state of a section is a contiguous range of the partition's flat state, in this order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters/parameter_layout.hpp"

namespace blockwise {

struct Structure {
  enum class Kind { elements, tiles, factored, labels, none };
  Kind kind = Kind::elements;
  std::int64_t tile_rows = 1;
  std::int64_t tile_columns = 1;
  std::vector<std::int32_t> labels;
  std::int64_t label_count = 0;

  static Structure per_element();
  static Structure tiles(std::int64_t tile_rows, std::int64_t tile_columns);
  static Structure factored(std::int64_t group_rows);
  static Structure from_labels(std::vector<std::int32_t> labels);
  static Structure none(std::int64_t tile_rows, std::int64_t tile_columns);
};

std::string_view structure_name(Structure::Kind kind);

struct PartitionSection {
  ParameterRole role = ParameterRole::other;
  std::string rule;            // the rule that chose the structure, for reports
  std::int64_t row_begin = 0;  // within the tensor
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  Structure structure;
  std::int64_t state_offset = 0;  // within the partition's flat state; set by Partition
  // Sections with one number of 0 or more share their value, across tensors: the mean over all of
  // their elements. Each keeps it. Only whole sections, that is one tile each.
  std::int64_t merged = -1;

  std::int64_t size() const { return rows * columns; }
  std::int64_t tile_grid_rows() const;     // tiles and factored groups down the rows
  std::int64_t tile_grid_columns() const;  // tiles along the columns
  // Groups of elements that share a value: rows * columns for elements; for factored, groups.
  std::int64_t block_count() const;
  std::int64_t state_size() const;  // values held
};

struct TensorPartition {
  std::vector<PartitionSection> sections;  // in row order, covering the tensor

  std::int64_t block_count() const;
  // A number per element, row-major, of the group that it is in: 0 .. block_count() - 1. A factored
  // group is one.
  std::vector<std::int64_t> labels() const;
};

class Partition {
 public:
  Partition() = default;
  // Throws InputError naming the tensor unless every tensor of the layout is covered exactly once.
  Partition(const ParameterLayout& layout, std::string rule, std::vector<TensorPartition> tensors);

  const std::string& rule() const { return rule_; }
  const std::vector<TensorPartition>& tensors() const { return tensors_; }  // layout order
  std::int64_t block_count() const;
  std::int64_t state_size() const { return state_size_; }

 private:
  std::string rule_;
  std::vector<TensorPartition> tensors_;
  std::int64_t state_size_ = 0;
};

}  // namespace blockwise
