// Whether and how a run goes on under a configuration that may be another one than it had.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"
#include "experiments/records/run_identity.hpp"

namespace blockwise {

// What a run's configuration has in place of another's; empty where there is no such key.
struct ConfigDifference {
  std::string key, there, here;
};

// Keys with other values, in the order of `here`. A key that one has not, and that stands in the
// other at what was done before there was such a key, is none.
std::vector<ConfigDifference> config_differences(const std::string& there, const std::string& here);

// Those of a kind that makes it another run: defining ones, lengths, paths (nobody looks at what
// they lead to), and `hessian` where both measure while they train.
std::vector<ConfigDifference> defining_differences(const std::string& there,
                                                   const std::string& here);

// "seed is 1 there and 2 here, ...", at most six of them.
std::string differences_text(const std::vector<ConfigDifference>& differences);

// The configuration that a run is to have, with what is in its files.
struct WantedRun {
  RunConfig config;
  std::vector<DataFile> data;
};

struct Continuation {
  RunIdentity identity;                   // under which it goes on
  std::vector<std::string> hashes;        // that its checkpoints may have: of now and of earlier
                                          // lengths
  std::vector<ConfigDifference> changes;  // what it goes on with, of any kind that may change
  std::string rates_note;                 // where the steps that stay had other rates
  std::vector<std::string> notes;         // both, for people
};

// How the run that `past` is of goes on under `wanted` after `steps` steps that stay. What does not
// define it may change, and becomes a change in the history from step + 1 on. trainer.steps may
// change to no less than `steps`, with schedule.steps. Where the learning rates of the steps that
// stay are the same under both lengths, what follows is as if the run had had the new one from the
// start; otherwise a note says that they are not. Throws InputError "PLACE: ..." for another run,
// naming the keys and both values or the data file and both contents.
Continuation continue_run(const std::string& place, const RunIdentity& past,
                          const WantedRun& wanted, std::int64_t steps);

// For callers with a sentence of their own: how the run goes on, or what makes it another run
// ("optimizer.beta2 is 0.95 there and 0.9 here").
struct JudgedRun {
  std::optional<Continuation> going;
  std::string another;
};
JudgedRun judge_run(const RunIdentity& past, const WantedRun& wanted, std::int64_t steps);

// A run that has none to continue.
RunIdentity new_identity(const WantedRun& wanted,
                         const std::optional<RunOrigin>& origin = std::nullopt);

}  // namespace blockwise
