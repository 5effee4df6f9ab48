// Losses of short training runs: the oracle of the product, and the only part of a search that runs
// anything.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "core/base/stop_query.hpp"
#include "experiments/sweeps/loss_oracle.hpp"
#include "experiments/sweeps/member_starter.hpp"

namespace blockwise {

// A run as a trial: `steps` of it (0: all of them), nothing measured beside it.
RunConfig trial_run(RunConfig config, std::int64_t steps);

// Runs go to folder/members, with a manifest that `report` reads, `jobs` at a time; `starter` makes
// their processes and lives longer. Finished runs of an earlier process are answers, too.
class TrainingOracle : public LossOracle {
 public:
  TrainingOracle(std::filesystem::path folder, MemberStarter& starter, std::int64_t jobs,
                 StopQuery stop)
      : folder_(std::move(folder)), starter_(starter), jobs_(jobs), stop_(std::move(stop)) {}

  std::optional<std::vector<TrialLoss>> ask(const std::vector<Trial>& trials) override;

 private:
  std::filesystem::path folder_;
  MemberStarter& starter_;
  std::int64_t jobs_;
  StopQuery stop_;
  std::vector<Trial> asked_;  // in the order of the manifest
  std::set<std::string> members_;
};

}  // namespace blockwise
