// What `blockwise partition` will measure, and what that takes.
#pragma once

#include <memory>
#include <string>

#include "experiments/config/run_config.hpp"
#include "experiments/curvature/work_meter.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

struct ResolvedDiscovery {
  RunConfig config;
  std::string hash;
  std::string measured;  // measured_hash(): what may be gone on from
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  WorkCount work;          // of all measurements, of condition numbers at most
  double gradients = 0.0;  // its cost
  ProductMemory memory;
};

// Throws InputError where a candidate or the batches do not fit, or memory does not suffice.
ResolvedDiscovery resolve_discovery(RunConfig config);

}  // namespace blockwise
