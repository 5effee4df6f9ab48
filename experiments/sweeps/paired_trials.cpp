#include "experiments/sweeps/paired_trials.hpp"

#include <algorithm>
#include <cmath>

namespace blockwise {

// Whether the budget covers what is new in it; then that is planned.
bool PairedTrials::plan(const std::vector<Arm>& arms, std::int64_t seeds) {
  std::set<ArmSeed> added;  // arms may be the same
  for (const auto& arm : arms) {
    for (std::int64_t seed = 1; seed <= seeds; ++seed) {
      if (!planned_.contains({arm.id, seed})) added.emplace(arm.id, seed);
    }
  }
  if (trials() + std::ssize(added) > limits_.budget) return false;
  planned_.insert(added.begin(), added.end());
  return true;
}

std::vector<Trial> PairedTrials::unanswered(const std::vector<Arm>& arms,
                                            std::int64_t seeds) const {
  std::vector<Trial> trials;
  std::set<std::string> seen;
  for (const auto& arm : arms) {
    if (!seen.insert(arm.id).second) continue;
    const auto known = losses_.find(arm.id);
    const auto answered = known == losses_.end() ? 0 : std::ssize(known->second);
    for (auto seed = answered + 1; seed <= seeds; ++seed) trials.push_back({arm, seed});
  }
  return trials;
}

PairedTrials::Result PairedTrials::measure(const std::vector<Arm>& arms, std::int64_t seeds) {
  seeds = std::min(seeds, limits_.seeds);
  if (!plan(arms, seeds)) return Result::exhausted;
  const auto trials = unanswered(arms, seeds);
  if (trials.empty()) return Result::measured;
  const auto answers = oracle_.ask(trials);
  if (!answers) return Result::stopped;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    losses_[trials[i].arm.id].push_back((*answers)[i].value_or(kDivergedLoss));
  }
  return Result::measured;
}

void PairedTrials::require(const std::vector<Arm>& arms, std::int64_t seeds) {
  const auto result = measure(arms, seeds);
  if (result != Result::measured) throw TrialsEnded{result};
}

double PairedTrials::mean_loss(const Arm& arm) const { return summarize(losses(arm)).mean; }

PairedTest PairedTrials::difference(const Arm& a, const Arm& b) const {
  const auto& x = losses(a);
  const auto& y = losses(b);
  const auto n = std::min(x.size(), y.size());
  return paired_t_test(std::span(x).first(n), std::span(y).first(n));
}

std::vector<Arm> race(PairedTrials& trials, const Arm& baseline, std::vector<Arm> arms,
                      std::size_t keep) {
  for (std::int64_t seeds = 1; !arms.empty(); seeds *= 2) {
    auto measured = arms;
    measured.push_back(baseline);
    trials.require(measured, seeds);
    std::ranges::stable_sort(
        arms, {}, [&](const Arm& arm) { return trials.difference(arm, baseline).difference.mean; });
    if (arms.size() <= keep && seeds > 1) break;
    arms.resize(std::max(std::min(keep, arms.size()), (arms.size() + 1) / 2));
    if (seeds >= trials.limits().seeds) break;
  }
  return arms;
}

void measure_until_clear(PairedTrials& trials, const Arm& a, const Arm& b, double bound) {
  for (std::int64_t seeds = 2; seeds <= trials.limits().seeds; ++seeds) {
    trials.require({a, b}, seeds);
    const auto difference = trials.difference(a, b).difference;
    if (seeds > 2 && std::abs(difference.mean - bound) > difference.half_width.value_or(0.0)) break;
  }
}

}  // namespace blockwise
