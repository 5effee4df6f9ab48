// The resolved configuration as text, and its hash.
#pragma once

#include <string>
#include <string_view>

#include "experiments/config/config_lines.hpp"
#include "experiments/config/run_config.hpp"

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
// The hash of a configuration as text and of the content of its files, one behind the other.
std::string config_hash(const ConfigLines& config, const std::string& files);
std::string named_files(const RunConfig& config);
// Whether a key that came later than some runs stands at what was done before there was one.
bool is_later_default(std::string_view path, const std::string& value);

}  // namespace blockwise
