// How well a partition that was found holds up: its blocks against the Hessian, with fresh probes
// and on other batches.
#pragma once

#include <string>
#include <vector>

#include "experiments/curvature/work_meter.hpp"
#include "experiments/partitions/discovery_point.hpp"

namespace blockwise {

// D_P, the Hessian's blocks of the partition, against the Hessian H of all matrices together.
// Merged sections are one block.
struct PartitionValidation {
  std::string batches;  // the same or other
  // E ||D_P v||^2 / E ||H v||^2 over Rademacher v. As <D_P v, H v> has the mean ||D_P v||^2 too,
  // the cosine of the two vectors is its root, and ||H v - D_P v|| / ||H v|| the root of what is
  // left to 1.
  double share = 0.0, share_error = 0.0;
  double share_half_width = 0.0;  // of 95 %: Student's t over the vectors
  double cosine() const;
  double relative_error() const;
  // Cosine and relative error with the gradient in the place of v, see partition_fidelity.hpp.
  double gradient_cosine = 0.0, gradient_cosine_error = 0.0;
  double gradient_relative_error = 0.0, gradient_relative_error_error = 0.0;
  // Of 95 %, from the jackknife over codes.
  double gradient_cosine_half_width = 0.0, gradient_relative_error_half_width = 0.0;
  std::int64_t vectors = 0;  // behind the share
};

// A sentence with 95 % intervals, no wider than the values that are possible. Two vectors have none
// (Student's t of one degree of freedom is 12.7), and one that holds every possible value is said
// to be no result.
std::string validation_text(const PartitionValidation& validation);

// What validate_partition() counts.
WorkCount validation_work(const ResolvedDiscovery& discovery);

// On the search's batches and on those behind them; empty where the objective takes no products or
// discovery.validation_vectors is 0. Throws Stopped.
std::vector<PartitionValidation> validate_partition(const DiscoveryPoint& point,
                                                    const std::vector<SectionScores>& sections,
                                                    WorkMeter& meter);

}  // namespace blockwise
