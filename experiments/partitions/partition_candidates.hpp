// Structures that a search for a partition chooses from, section by section.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/partition/partition_rules.hpp"

namespace blockwise {

//   whole                 one value
//   head                  query, key, value: heads of rows; attention output: heads of columns
//   row, column           output rows, input columns
//   rows_8                groups of eight output rows, within heads
//   head_by_column        head x input column
//   tile_16               tiles of 16 x 16
//   factored              rank one over rows and columns
//   factored_per_head     the same within each head of rows
//   element               one value per element
struct PartitionCandidate {
  std::string name;
  // Nothing where it does not apply or equals another candidate.
  std::function<std::optional<Structure>(const SectionView&)> structure;
};

// Those of candidate_names.hpp, in that order.
const std::vector<PartitionCandidate>& partition_candidates();

}  // namespace blockwise
