// `blockwise partition`: a partition from the Hessian's energies and the gradients' second moments,
// written as a file that `optimizer.partition.file` takes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "experiments/partition_scores.hpp"
#include "experiments/role_search.hpp"
#include "experiments/spectrum.hpp"

namespace blockwise {

struct ResolvedDiscovery {
  RunConfig config;
  std::string hash;
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  std::int64_t products = 0;  // with the Hessian
  std::int64_t units = 0;     // of progress: products, exact matrices, gradients
  double gradients = 0.0;     // their cost, and that of the moments
  ProductMemory memory;
};

// Throws InputError where a candidate or the batches do not fit, or memory does not suffice.
ResolvedDiscovery resolve_discovery(RunConfig config);

// How well D_P, the Hessian's blocks of a partition, stands for the Hessian H of all matrices
// together: E ||D_P v||^2 / E ||H v||^2 over Rademacher v. As <D_P v, H v> has the mean ||D_P v||^2
// too, the cosine of the two vectors is its root, and ||H v - D_P v|| / ||H v|| the root of what is
// left to 1.
struct PartitionValidation {
  std::string batches;  // the same or others
  double share = 0.0, share_error = 0.0;
  double cosine() const;
  double relative_error() const;
};

struct DiscoveryOutcome {
  bool finished = false;  // otherwise a signal stopped it
  std::string file;
  Partition partition;
  std::vector<SectionScores> sections;
  std::vector<PartitionValidation> validation;
  // By loss: what the trials said, and whether max_trials ended them.
  std::vector<SearchDecision> decisions;
  bool exhausted = false;
};

// Writes DIR/partition.yaml in the configuration's output folder. A stopped search goes on from
// DIR/probes.h5, vector by vector, and from the finished runs in DIR/trials, and gives the same
// file. By loss DIR/decisions.csv says what was tried. Trials are processes of `program`, `jobs` at
// a time.
DiscoveryOutcome discover_partition(const ResolvedDiscovery& discovery, const std::string& program,
                                    std::int64_t jobs, const ProductObserver& observe);

}  // namespace blockwise
