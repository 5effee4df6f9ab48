// A choice among the candidates of every section, and what it comes to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/partitions/partition_scores.hpp"

namespace blockwise {

// Of every section, which of its candidates.
using PartitionChoice = std::vector<std::size_t>;

// What is chosen in the sections.
PartitionChoice chosen_candidates(const std::vector<SectionScores>& sections);

// The candidates that the rule adam_mini takes, the first one where a section has none.
PartitionChoice adam_mini_choice(const std::vector<SectionScores>& sections);

// The choice with the candidate in every section of the role, a role of matrices; a section that
// has no such candidate stays as it is.
PartitionChoice with_candidate(const std::vector<SectionScores>& sections, PartitionChoice choice,
                               const std::string& role, const std::string& candidate);

// Values of the second moment.
std::int64_t values_of(const std::vector<SectionScores>& sections, const PartitionChoice& choice);

// Roles of matrices, those with the most elements first.
std::vector<std::string> matrix_roles(const std::vector<SectionScores>& sections);

// A section of a matrix, of that role.
bool is_matrix_of(const SectionScores& section, const std::string& role);

}  // namespace blockwise
