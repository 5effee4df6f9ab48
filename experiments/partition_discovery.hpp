// `blockwise partition`: a partition from the Hessian's energies and the gradients' second moments,
// written as a file that `optimizer.partition.file` takes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "experiments/partition_scores.hpp"
#include "experiments/spectrum.hpp"

namespace blockwise {

struct ResolvedDiscovery {
  RunConfig config;
  std::string hash;
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  std::int64_t products = 0;  // with the Hessian
  double gradients = 0.0;     // their cost, and that of the moments
  ProductMemory memory;
};

// Throws InputError where a candidate or the batches do not fit, or memory does not suffice.
ResolvedDiscovery resolve_discovery(RunConfig config);

struct DiscoveryOutcome {
  bool finished = false;  // otherwise a signal stopped it
  std::string file;
  Partition partition;
  std::vector<SectionScores> sections;
};

// Writes DIR/partition.yaml in the configuration's output folder. A stopped search goes on from
// DIR/probes.h5, vector by vector, and gives the same file.
DiscoveryOutcome discover_partition(const ResolvedDiscovery& discovery,
                                    const ProductObserver& observe);

}  // namespace blockwise
