#include "experiments/sweeps/training_oracle.hpp"

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "experiments/records/checkpoint.hpp"
#include "experiments/sweeps/sweep.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::string member_id(const Trial& trial) {
  return fmt::format("{}-s{}", trial.arm.id, trial.seed);
}

TrialLoss final_loss(const RunResult& run) {
  if (run.state == RunState::diverged || run.evaluations.empty()) return std::nullopt;
  const double loss = run.evaluations.back().loss;
  return std::isfinite(loss) ? TrialLoss(loss) : std::nullopt;
}

TrialLoss read_loss(const fs::path& run) {
  const auto loss = final_loss(read_run(run / "run.h5"));
  fs::remove_all(run / "checkpoints");  // nothing continues a trial
  return loss;
}

}  // namespace

RunConfig trial_run(RunConfig config, std::int64_t steps) {
  config.hessian = {};
  config.discovery = {};
  config.search_lr = {};
  if (steps > 0) config.trainer.steps = steps;
  return config;
}

std::optional<std::vector<TrialLoss>> TrainingOracle::ask(const std::vector<Trial>& trials) {
  for (const auto& trial : trials) {
    if (members_.insert(member_id(trial)).second) asked_.push_back(trial);
  }
  std::vector<PlannedRun> runs;
  for (const auto& [arm, seed] : asked_) {
    runs.push_back({{member_id({arm, seed}), arm.id, seed, {}}, arm.config});
  }
  const auto sweep = write_sweep("trials", folder_, asked_.front().arm.id, std::move(runs));
  const auto outcome = run_sweep(sweep, {starter_, jobs_}, stop_);
  if (outcome.failed > 0) {
    throw std::runtime_error(fmt::format("{} trials failed; see {}", outcome.failed,
                                         (folder_ / "members/*/log.txt").string()));
  }
  if (outcome.unfinished > 0) return std::nullopt;
  std::vector<TrialLoss> losses;
  for (const auto& trial : trials) {
    losses.push_back(read_loss(folder_ / "members" / member_id(trial)));
  }
  return losses;
}

}  // namespace blockwise
