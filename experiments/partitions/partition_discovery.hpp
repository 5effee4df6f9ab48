// `blockwise partition`: a partition from the Hessian's energies and the gradients' second moments,
// written as a file that `optimizer.partition.file` takes.
#pragma once

#include <string>
#include <vector>

#include "core/parallel/ranks.hpp"
#include "experiments/partitions/discovery_plan.hpp"
#include "experiments/partitions/partition_scores.hpp"
#include "experiments/partitions/partition_validation.hpp"
#include "experiments/partitions/search_decisions.hpp"
#include "experiments/records/run_state.hpp"
#include "experiments/sweeps/loss_oracle.hpp"

namespace blockwise {

struct DiscoveryOutcome {
  bool finished = false;  // otherwise a stop ended it
  WorkCount work;         // that was done
  std::string file;
  Partition partition;
  std::vector<SectionScores> sections;
  std::vector<PartitionValidation> validation;
  // By loss: what the trials said, and whether max_trials ended them.
  std::vector<SearchDecision> decisions;
  bool exhausted = false;
};

// Writes DIR/partition.yaml and DIR/scores.csv in the configuration's output folder, with
// discovery.merge DIR/couplings.csv, by loss DIR/decisions.csv. A stopped search goes on from
// DIR/probes.h5, vector by vector, and from what the oracle keeps, and gives the same files; what
// comes behind the probes is measured again. Of several processes this is rank 0. By loss `oracle`
// is asked, once the folder is this search's; `observe` is told of discovery.work.units.
DiscoveryOutcome discover_partition(const ResolvedDiscovery& discovery, LossOracle& oracle,
                                    const WorkObserver& observe, const StopQuery& stop,
                                    const Ranks& ranks = Ranks());

// The part of every rank but 0; how the search ended. Several processes share products and
// second moments; trials are processes of their own: throws InputError by loss.
RunState serve_discovery(const ResolvedDiscovery& discovery, const Ranks& ranks);

}  // namespace blockwise
