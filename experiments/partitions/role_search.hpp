// A partition judged by what it does to the loss: paired short training runs, role by role.
//
//   proposals  those of the cheap criteria and the rule adam_mini, raced; the best is the start
//   refine     every matrix role alone to one value per element, raced: where can sharing less gain
//              anything? For the roles that gain, best first: all candidates, raced; the winner is
//              taken where the 95 % interval of its gain excludes zero. Repeated until none is.
//   coarsen    every role to whole tensors, the most values first: kept where the interval of what
//              all coarsening so far costs ends below `tolerance`
//
// One role at a time misses what only two changes together gain. Cost: runs, bounded by max_trials.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "experiments/partitions/partition_choice.hpp"
#include "experiments/partitions/search_decisions.hpp"
#include "experiments/sweeps/paired_trials.hpp"

namespace blockwise {

// What trains with the partition of a choice.
using ChoiceArm = std::function<Arm(const PartitionChoice&)>;

struct RoleSearch {
  const std::vector<SectionScores>& sections;  // the candidates; what is chosen there is not read
  ChoiceArm arm;
  std::int64_t most_values = 0;  // of a partition
  double tolerance = 0.01;       // nats that all coarsening together may cost
};

struct Proposal {
  std::string name;
  PartitionChoice choice;
};

struct RoleSearchOutcome {
  PairedTrials::Result result = PairedTrials::Result::measured;  // exhausted: the best so far
  PartitionChoice choice;
  std::vector<SearchDecision> decisions;
};

// Throws InputError where no proposal keeps most_values.
RoleSearchOutcome search_roles(const RoleSearch& search, const std::vector<Proposal>& proposals,
                               PairedTrials& trials);

}  // namespace blockwise
