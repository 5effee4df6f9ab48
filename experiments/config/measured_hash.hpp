// What a measurement that was stopped may go on from.
#pragma once

#include <string>

#include "experiments/config/run_config.hpp"

namespace blockwise {

// config_hash() and what the configuration leads to now: the content of its data (data_files()) and
// of model.from what it is and, of a run, the step. 16 hexadecimal digits. Throws InputError for
// what cannot be read.
std::string measured_hash(const RunConfig& config);

}  // namespace blockwise
