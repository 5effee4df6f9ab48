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
// for the partition and the rates, without fields that came later than a run and stand at what was
// done before there were such: a new field does not change the hash of older runs.
std::string config_hash(RunConfig config);

}  // namespace blockwise
