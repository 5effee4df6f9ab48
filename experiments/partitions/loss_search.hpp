// A partition by loss: proposals of the cheap criteria, and training runs that judge them.
#pragma once

#include <vector>

#include "experiments/partitions/discovery_plan.hpp"
#include "experiments/partitions/role_search.hpp"

namespace blockwise {

// Chooses among the candidates of measured sections: score() and choose() by the objective.
void choose_by(const std::string& objective, const ResolvedDiscovery& discovery,
               std::vector<SectionScores>& sections);

// Sets what is chosen. Partitions of the runs are written to the folder's trials/partitions. Throws
// Stopped where the oracle was.
RoleSearchOutcome search_by_loss(const ResolvedDiscovery& discovery, LossOracle& oracle,
                                 std::vector<SectionScores>& sections);

}  // namespace blockwise
