// What a search for learning rates measures, what it costs, and whether it can be: before anything
// long.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"
#include "experiments/curvature/moment_batches.hpp"
#include "experiments/curvature/work_meter.hpp"
#include "experiments/rates/rate_targets.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

struct ResolvedRateSearch {
  RunConfig config;
  std::string hash;
  std::string measured;  // measured_hash(): what may be gone on from
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  Partition partition;
  std::vector<RateTarget> targets;  // of what is measured at the point
  MomentBatches moment_batches;     // behind mean(v)
  WorkCount curvature_work;         // at most, but for its units
  WorkCount moment_work;
  ProductMemory memory;

  std::int64_t units() const { return curvature_work.units + moment_work.units; }
};

// Throws InputError where the rule takes no partition, or memory does not suffice.
ResolvedRateSearch resolve_rate_search(RunConfig config);

}  // namespace blockwise
