// A configuration that is ready to run.
#pragma once

#include <memory>
#include <string>

#include "experiments/config/run_config.hpp"

namespace blockwise {

// A configuration with everything the data set says filled in, and its hash.
struct ResolvedRun {
  RunConfig config;
  std::string hash;
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  std::string from = {};  // run or checkpoint to start from, with the optimizer's state (fork.hpp)
};

// Opens the data set, adapts the model, checks batch sizes. Throws InputError.
ResolvedRun resolve(RunConfig config);

}  // namespace blockwise
