// A run that starts from another one's checkpoint under changed options: `train X.yaml --from RUN`.
// It takes over the weights, the optimizer's state, the number of steps and the place in the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/parameters/parameter_layout.hpp"
#include "experiments/training/continuation.hpp"

namespace blockwise {

struct Fork {
  std::filesystem::path checkpoint;  // its folder
  RunIdentity source;                // of the run that wrote it
  RunOrigin origin;                  // what the new run's files say
  std::vector<std::string> notes;    // for people
};

// The checkpoint that `from` leads to: a checkpoint's folder, a run's (its newest one), or a run's
// with the checkpoint's name behind it.
std::filesystem::path find_checkpoint(const std::filesystem::path& from);

// What a run starts with that is forked from there under `wanted`. The data go on behind the last
// example that was read, in the order of the new run's seed, also with another batch size; where
// they are others or cut into other sequences, they start from their first example. Throws
// InputError naming the keys for another rule, another partition, tensors of other names or shapes,
// and for steps that are done already; what the state itself is, load_checkpoint() checks.
Fork open_fork(const std::filesystem::path& from, const WantedRun& wanted,
               const ParameterLayout& layout);

// The fork that a run started from, again, for a process that was killed before its first
// checkpoint. Throws InputError where the checkpoint is another one by now.
Fork reopen_fork(const RunOrigin& origin, const WantedRun& wanted, const ParameterLayout& layout);

// Throws InputError where a folder's run did not start from what `from` says.
void require_origin(const std::filesystem::path& folder, const RunIdentity& past,
                    const std::string& from);

}  // namespace blockwise
