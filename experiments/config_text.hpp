// The resolved configuration as text, and its hash.
#pragma once

#include <string>

#include "experiments/run_config.hpp"

namespace blockwise {

// Every field with its value, in the order of the field lists; reading it gives the same config
// again.
std::string to_yaml(RunConfig config);
// to_yaml() with neutral values for what does not define the experiment: name, output, device,
// threads and checkpoints. (Threads change the order of sums inside LibTorch, so bits may differ
// between counts; the run file records the count.)
std::string experiment_yaml(RunConfig config);
// First 16 hexadecimal digits of the SHA-256 of experiment_yaml() and of the files that it names
// for the partition and the rates.
std::string config_hash(RunConfig config);

}  // namespace blockwise
