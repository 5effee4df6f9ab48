#include "core/partition/partition.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/partition/section_blocks.hpp"

namespace blockwise {
namespace {

void check_labels(const std::string& tensor, const PartitionSection& section) {
  const auto& labels = section.structure.labels;
  require_input(static_cast<std::int64_t>(labels.size()) == section.size(),
                "partition of '{}': {} labels for {} elements", tensor, labels.size(),
                section.size());
  const auto count = section.structure.label_count;
  require_input(count >= 1 && count <= section.size(),
                "partition of '{}': the largest label is {}, of {} elements", tensor, count - 1,
                section.size());
  std::vector<bool> used(static_cast<std::size_t>(section.structure.label_count), false);
  for (const auto label : labels) {
    require_input(label >= 0 && label < section.structure.label_count,
                  "partition of '{}': label {} is outside [0, {})", tensor, label,
                  section.structure.label_count);
    used[static_cast<std::size_t>(label)] = true;
  }
  const auto unused = std::find(used.begin(), used.end(), false);
  require_input(unused == used.end(), "partition of '{}': no element has label {}", tensor,
                unused - used.begin());
}

// A tile beyond its section is the section: the same blocks, and numbers that sums can be made of.
void fit_tiles(PartitionSection& section) {
  auto& structure = section.structure;
  structure.tile_rows = std::min(structure.tile_rows, section.rows);
  structure.tile_columns = std::min(structure.tile_columns, section.columns);
}

void check_section(const Parameter& parameter, const PartitionSection& section,
                   std::int64_t expected_row) {
  require_input(section.row_begin == expected_row && section.rows > 0,
                "partition of '{}': a section starts at row {} with {} rows, row {} comes next",
                parameter.name, section.row_begin, section.rows, expected_row);
  require_input(section.rows <= parameter.rows() - expected_row,
                "partition of '{}': {} of its {} rows are covered", parameter.name,
                std::uint64_t(expected_row) + std::uint64_t(section.rows), parameter.rows());
  require_input(section.columns == parameter.columns(),
                "partition of '{}': a section has {} columns, the tensor has {}", parameter.name,
                section.columns, parameter.columns());
  const auto& structure = section.structure;
  require_input(structure.tile_rows >= 1 && structure.tile_columns >= 1,
                "partition of '{}': tiles of {} x {}", parameter.name, structure.tile_rows,
                structure.tile_columns);
  if (structure.kind == Structure::Kind::labels) check_labels(parameter.name, section);
  require_input(
      section.merged < 0 ||
          (structure.kind == Structure::Kind::tiles && section.block_count() == 1),
      "partition of '{}': merged sections are one tile each, this one is {} with {} blocks",
      parameter.name, structure_name(structure.kind), section.block_count());
}

}  // namespace

Structure Structure::per_element() { return {}; }

Structure Structure::tiles(std::int64_t tile_rows, std::int64_t tile_columns) {
  Structure result;
  result.kind = Kind::tiles;
  result.tile_rows = tile_rows;
  result.tile_columns = tile_columns;
  return result;
}

Structure Structure::factored(std::int64_t group_rows) {
  Structure result;
  result.kind = Kind::factored;
  result.tile_rows = group_rows;
  return result;
}

Structure Structure::from_labels(std::vector<std::int32_t> labels) {
  Structure result;
  result.kind = Kind::labels;
  const auto largest = std::max_element(labels.begin(), labels.end());
  result.label_count = largest == labels.end() ? 0 : std::int64_t{*largest} + 1;
  result.labels = std::move(labels);
  return result;
}

Structure Structure::none(std::int64_t tile_rows, std::int64_t tile_columns) {
  auto result = tiles(tile_rows, tile_columns);
  result.kind = Kind::none;
  return result;
}

std::string_view structure_name(Structure::Kind kind) {
  switch (kind) {
    case Structure::Kind::elements:
      return "elements";
    case Structure::Kind::tiles:
      return "tiles";
    case Structure::Kind::factored:
      return "factored";
    case Structure::Kind::labels:
      return "labels";
    case Structure::Kind::none:
      return "none";
  }
  return "";
}

std::int64_t PartitionSection::tile_grid_rows() const {
  return ceil_divide(rows, structure.tile_rows);
}

std::int64_t PartitionSection::tile_grid_columns() const {
  return ceil_divide(columns, structure.tile_columns);
}

std::int64_t PartitionSection::block_count() const {
  switch (structure.kind) {
    case Structure::Kind::elements:
      return size();
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return tile_grid_rows() * tile_grid_columns();
    case Structure::Kind::factored:
      return tile_grid_rows();
    case Structure::Kind::labels:
      return structure.label_count;
  }
  return 0;
}

std::int64_t PartitionSection::state_size() const {
  if (structure.kind == Structure::Kind::none) return 0;
  if (structure.kind == Structure::Kind::factored) return rows + tile_grid_rows() * columns;
  return block_count();
}

std::int64_t TensorPartition::block_count() const {
  std::int64_t count = 0;
  for (const auto& section : sections) count += section.block_count();
  return count;
}

std::vector<std::int64_t> TensorPartition::labels() const {
  std::vector<std::int64_t> labels;
  std::int64_t first = 0;
  for (const auto& section : sections) {
    for (const auto label : labels_of(section)) labels.push_back(first + label);
    first += section.block_count();
  }
  return labels;
}

Partition::Partition(const ParameterLayout& layout, std::string rule,
                     std::vector<TensorPartition> tensors)
    : rule_(std::move(rule)), tensors_(std::move(tensors)) {
  require_input(tensors_.size() == layout.parameters().size(),
                "the partition has {} tensors, the model has {}", tensors_.size(),
                layout.parameters().size());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto& parameter = layout.parameters()[i];
    std::int64_t row = 0;
    for (auto& section : tensors_[i].sections) {
      check_section(parameter, section, row);
      fit_tiles(section);
      section.state_offset = state_size_;
      state_size_ += section.state_size();
      row += section.rows;
    }
    require_input(row == parameter.rows(), "partition of '{}': {} of its {} rows are covered",
                  parameter.name, row, parameter.rows());
  }
}

std::int64_t Partition::block_count() const {
  std::int64_t count = 0;
  for (const auto& tensor : tensors_) {
    for (const auto& section : tensor.sections) count += section.block_count();
  }
  return count;
}

}  // namespace blockwise
