// What a structure says of its elements, for every kind and for shapes that tiles do not divide.
#include "core/partition/section_blocks.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

using Shapes = std::vector<std::pair<std::int64_t, std::int64_t>>;

PartitionSection section(std::int64_t rows, std::int64_t columns, Structure structure) {
  PartitionSection s;
  s.row_begin = 3;  // of no account to its own elements
  s.rows = rows;
  s.columns = columns;
  s.structure = std::move(structure);
  return s;
}

Structure scattered(std::int64_t size) {
  const auto count = std::min<std::int64_t>(size, 5);
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < size; ++i) {
    labels.push_back(static_cast<std::int32_t>(i * 7 % count));
  }
  return Structure::from_labels(labels);
}

std::vector<PartitionSection> all_kinds() {
  std::vector<PartitionSection> sections;
  const Shapes shapes = {{1, 1}, {1, 7}, {7, 1}, {5, 3}, {6, 4}, {7, 11}, {13, 2}};
  for (const auto& [rows, columns] : shapes) {
    sections.push_back(section(rows, columns, Structure::per_element()));
    for (const auto& [r, c] : Shapes{{1, 1}, {2, 3}, {3, 2}, {1, columns}, {rows, 1}}) {
      sections.push_back(section(rows, columns, Structure::tiles(r, c)));
      sections.push_back(section(rows, columns, Structure::none(r, c)));
    }
    sections.push_back(section(rows, columns, Structure::tiles(100, 100)));  // beyond the section
    for (const auto group : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, rows}) {
      sections.push_back(section(rows, columns, Structure::factored(group)));
    }
    sections.push_back(section(rows, columns, scattered(rows * columns)));
  }
  return sections;
}

struct Extent {
  std::int64_t first_row = 1000, last_row = -1, first_column = 1000, last_column = -1, count = 0;
};

std::map<std::int64_t, Extent> extents_of(const PartitionSection& s) {
  std::map<std::int64_t, Extent> blocks;
  for (std::int64_t row = 0; row < s.rows; ++row) {
    for (std::int64_t column = 0; column < s.columns; ++column) {
      auto& e = blocks[block_of(s, row, column)];
      e.first_row = std::min(e.first_row, row);
      e.last_row = std::max(e.last_row, row);
      e.first_column = std::min(e.first_column, column);
      e.last_column = std::max(e.last_column, column);
      ++e.count;
    }
  }
  return blocks;
}

}  // namespace

TEST_CASE("Structures: every element is in one of block_count blocks, and every block has one") {
  for (const auto& s : all_kinds()) {
    INFO(structure_name(s.structure.kind) << " of " << s.rows << " x " << s.columns);
    const auto blocks = extents_of(s);
    REQUIRE(std::ssize(blocks) == s.block_count());
    CHECK(blocks.begin()->first == 0);
    CHECK(blocks.rbegin()->first == s.block_count() - 1);
    const auto labels = labels_of(s);
    REQUIRE(std::ssize(labels) == s.size());
    for (std::int64_t i = 0; i < s.size(); ++i) {
      CHECK(labels[std::size_t(i)] == block_of(s, i / s.columns, i % s.columns));
    }
  }
}

TEST_CASE(
    "Structures: blocks are rectangles of tile(), cut at the section's last rows and columns") {
  for (const auto& s : all_kinds()) {
    INFO(structure_name(s.structure.kind) << " of " << s.rows << " x " << s.columns);
    const auto tile = tile_of(s);
    CHECK(tile.has_value() == (s.structure.kind != Structure::Kind::labels));
    if (!tile) continue;
    for (const auto& [block, e] : extents_of(s)) {
      const auto rows = e.last_row - e.first_row + 1, columns = e.last_column - e.first_column + 1;
      CHECK(e.count == rows * columns);
      CHECK((rows == tile->rows || (rows < tile->rows && e.last_row == s.rows - 1)));
      CHECK((columns == tile->columns ||
             (columns < tile->columns && e.last_column == s.columns - 1)));
      CHECK(e.first_row % tile->rows == 0);
      CHECK(e.first_column % tile->columns == 0);
    }
  }
}

TEST_CASE("Structures: spread() takes every block's value to its elements") {
  for (const auto& s : all_kinds()) {
    INFO(structure_name(s.structure.kind) << " of " << s.rows << " x " << s.columns);
    const auto values = spread(s, at::arange(s.block_count(), at::kDouble) * 10.0)
                            .expand({s.rows, s.columns})
                            .contiguous();
    for (std::int64_t row = 0; row < s.rows; ++row) {
      for (std::int64_t column = 0; column < s.columns; ++column) {
        CHECK(values[row][column].item<double>() == 10.0 * double(block_of(s, row, column)));
      }
    }
  }
}

TEST_CASE("Structures: a tensor's labels are its sections', one after the other") {
  auto first = section(2, 3, Structure::tiles(1, 2)), second = section(3, 3, scattered(9));
  const TensorPartition both{{first, second}};
  auto expected = labels_of(first);
  for (const auto label : labels_of(second)) expected.push_back(label + first.block_count());
  CHECK(both.labels() == expected);
}
