// What `discovery.candidates` may name.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// From the fewest values to the most, roughly; experiments/partitions/partition_candidates.hpp says
// what they are.
const std::vector<std::string>& candidate_names();

}  // namespace blockwise
