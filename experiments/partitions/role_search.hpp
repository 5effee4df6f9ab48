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
#include <optional>
#include <string>
#include <vector>

#include "core/text/display_width.hpp"
#include "experiments/partitions/partition_scores.hpp"
#include "experiments/sweeps/paired_trials.hpp"

namespace blockwise {

// Of every section, which of its candidates.
using PartitionChoice = std::vector<std::size_t>;

struct Proposal {
  std::string name;
  PartitionChoice choice;
};

// One look at one change.
struct SearchDecision {
  std::string stage;  // propose, refine or coarsen
  std::string role;   // empty: all
  std::string candidate;
  std::int64_t values = 0;  // of the partition with the change
  std::int64_t seeds = 0;
  double loss = 0.0;                          // mean
  double difference = 0.0;                    // to the partition before; nats, negative is better
  std::optional<double> half_width, p_value;  // of the difference
  bool taken = false;
};

struct RoleSearchOutcome {
  PairedTrials::Result result = PairedTrials::Result::measured;  // exhausted: the best so far
  PartitionChoice choice;
  std::vector<SearchDecision> decisions;
};

struct RoleSearchOptions {
  double max_state = 1.0;   // values per parameter, at most
  double tolerance = 0.01;  // nats that all coarsening together may cost
};

// The run's configuration with the partition of a choice.
using TrialConfig = std::function<Arm(const PartitionChoice&)>;

// `sections` give the candidates; what is chosen in them is not read. Throws InputError where no
// proposal keeps max_state.
RoleSearchOutcome search_roles(const std::vector<SectionScores>& sections, std::int64_t parameters,
                               const std::vector<Proposal>& proposals, const TrialConfig& arm,
                               const RoleSearchOptions& options, PairedTrials& trials);

std::string decisions_csv(const std::vector<SearchDecision>& decisions);
std::string decisions_report(const std::vector<SearchDecision>& decisions,
                             std::size_t width = kUnlimitedWidth);

}  // namespace blockwise
