// What a search for learning rates measures, what it costs, and whether it can be: before anything
// long.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/parameters/parameter_layout.hpp"
#include "experiments/rates/measured_rates.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

struct ResolvedRateSearch {
  RunConfig config;
  std::string hash;
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  Partition partition;
  std::vector<RateTarget> targets;  // of what is measured at the point
  std::int64_t products = 0;        // with the Hessian, at most
  MomentBatches moment_batches;     // behind mean(v)
  // Costs in gradients of the loss over the Hessian's examples, as core/curvature.hpp counts.
  double product_gradients = 0.0, moment_gradients = 0.0;
  std::int64_t units = 0;  // of progress: blocks and gradients
  ProductMemory memory;
};

// Throws InputError where the rule takes no partition, or memory does not suffice.
ResolvedRateSearch resolve_rate_search(RunConfig config);

}  // namespace blockwise
