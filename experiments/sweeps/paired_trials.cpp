#include "experiments/sweeps/paired_trials.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "experiments/records/checkpoint.hpp"
#include "experiments/sweeps/sweep.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::string member_id(const Arm& arm, std::int64_t seed) {
  return fmt::format("{}-s{}", arm.id, seed);
}

fs::path run_folder(const fs::path& folder, const Arm& arm, std::int64_t seed) {
  return folder / "members" / member_id(arm, seed);
}

double final_loss(const RunResult& run) {
  const bool diverged = run.state == RunState::diverged || run.evaluations.empty();
  const double loss = diverged ? kDivergedLoss : run.evaluations.back().loss;
  return std::isfinite(loss) ? loss : kDivergedLoss;
}

}  // namespace

RunConfig trial_run(RunConfig config, std::int64_t steps) {
  config.hessian = {};
  config.discovery = {};
  config.search_lr = {};
  if (steps > 0) config.trainer.steps = steps;
  return config;
}

bool PairedTrials::plan(const std::vector<Arm>& arms, std::int64_t seeds) {
  std::vector<std::pair<Arm, std::int64_t>> added;
  for (const auto& arm : arms) {
    for (std::int64_t seed = 1; seed <= seeds; ++seed) {
      if (!known_.contains({arm.id, seed})) added.emplace_back(arm, seed);
    }
  }
  if (runs() + std::ssize(added) > limits_.budget) return false;
  for (auto& [arm, seed] : added) {
    if (known_.insert({arm.id, seed}).second) planned_.emplace_back(std::move(arm), seed);
  }
  return true;
}

void PairedTrials::read(const Arm& arm, std::int64_t seeds) {
  auto& losses = losses_[arm.id];
  for (auto seed = std::ssize(losses) + 1; seed <= seeds; ++seed) {
    const auto folder = run_folder(folder_, arm, seed);
    losses.push_back(final_loss(read_run(folder / "run.h5")));
    fs::remove_all(folder / "checkpoints");  // nothing continues a trial
  }
}

PairedTrials::Result PairedTrials::measure(const std::vector<Arm>& arms, std::int64_t seeds) {
  seeds = std::min(seeds, limits_.seeds);
  if (!plan(arms, seeds)) return Result::exhausted;
  std::vector<PlannedRun> runs;
  for (const auto& [arm, seed] : planned_) {
    runs.push_back({{member_id(arm, seed), arm.id, seed, {}}, arm.config});
  }
  const auto sweep = write_sweep("trials", folder_, planned_.front().first.id, std::move(runs));
  const auto outcome = run_sweep(sweep, limits_.program, limits_.jobs);
  if (outcome.failed > 0) {
    throw std::runtime_error(fmt::format("{} trials failed; see {}", outcome.failed,
                                         (folder_ / "members/*/log.txt").string()));
  }
  if (outcome.unfinished > 0) return Result::stopped;
  for (const auto& arm : arms) read(arm, seeds);
  return Result::measured;
}

double PairedTrials::mean_loss(const Arm& arm) const { return summarize(losses(arm)).mean; }

PairedTest PairedTrials::difference(const Arm& a, const Arm& b) const {
  const auto& x = losses(a);
  const auto& y = losses(b);
  const auto n = std::min(x.size(), y.size());
  return paired_t_test(std::span(x).first(n), std::span(y).first(n));
}

Race race(PairedTrials& trials, const Arm& baseline, std::vector<Arm> arms, std::size_t keep) {
  Race result;
  for (std::int64_t seeds = 1; !arms.empty(); seeds *= 2) {
    auto measured = arms;
    measured.push_back(baseline);
    result.result = trials.measure(measured, seeds);
    if (result.result != PairedTrials::Result::measured) return result;
    std::ranges::stable_sort(
        arms, {}, [&](const Arm& arm) { return trials.difference(arm, baseline).difference.mean; });
    if (arms.size() <= keep && seeds > 1) break;
    arms.resize(std::max(std::min(keep, arms.size()), (arms.size() + 1) / 2));
    if (seeds >= trials.limits().seeds) break;
  }
  result.survivors = std::move(arms);
  return result;
}

PairedTrials::Result measure_until_clear(PairedTrials& trials, const Arm& a, const Arm& b,
                                         double bound) {
  for (std::int64_t seeds = 2; seeds <= trials.limits().seeds; ++seeds) {
    const auto result = trials.measure({a, b}, seeds);
    if (result != PairedTrials::Result::measured) return result;
    const auto difference = trials.difference(a, b).difference;
    if (seeds > 2 && std::abs(difference.mean - bound) > difference.half_width.value_or(0.0)) break;
  }
  return PairedTrials::Result::measured;
}

}  // namespace blockwise
