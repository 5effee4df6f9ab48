// Every section of a model with the structures that it may get.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "experiments/partitions/partition_scores.hpp"

namespace blockwise {

// Every section of every tensor with its candidates, nothing measured.
std::vector<SectionScores> all_sections(const DiscoveryConfig& config,
                                        const ParameterLayout& layout);

// Names of candidates with blocks, that any section has.
std::vector<std::string> level_names(const std::vector<SectionScores>& sections);
bool has_blocks(const PartitionSection& section);

// The matrices of the layout.
std::vector<std::size_t> searched_tensors(const ParameterLayout& layout);

// Numbers of the sections of matrices.
std::map<ParameterRole, std::vector<std::size_t>> sections_by_role(
    const std::vector<SectionScores>& sections);

}  // namespace blockwise
