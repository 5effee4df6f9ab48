// Alternatives compared by their losses, pair by pair: what a search has asked an oracle so far,
// within a budget, and what follows from the answers.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/sample_summary.hpp"
#include "experiments/sweeps/loss_oracle.hpp"

namespace blockwise {

// Nats: what stands for the loss of a trial that diverged, above any real one, and finite so that
// two do not differ.
inline constexpr double kDivergedLoss = 1e3;

struct TrialLimits {
  std::int64_t budget = 0;  // trials in all, those that an earlier process ran included
  std::int64_t seeds = 5;   // 1 .. seeds per arm at most
};

class PairedTrials {
 public:
  enum class Result {
    measured,
    stopped,   // the oracle was: the same calls continue
    exhausted  // the budget does not cover it, nothing was asked
  };

  // Keeps a reference to the oracle.
  PairedTrials(LossOracle& oracle, TrialLimits limits) : oracle_(oracle), limits_(limits) {}

  // Every arm with the seeds 1 .. seeds (limits().seeds at most). What is known is not asked again.
  Result measure(const std::vector<Arm>& arms, std::int64_t seeds);
  // measure(); throws TrialsEnded unless all are measured.
  void require(const std::vector<Arm>& arms, std::int64_t seeds);

  // Of the seeds 1, 2, ...
  const std::vector<double>& losses(const Arm& arm) const { return losses_.at(arm.id); }
  double mean_loss(const Arm& arm) const;
  // losses(a) - losses(b), of the seeds that both have.
  PairedTest difference(const Arm& a, const Arm& b) const;

  const TrialLimits& limits() const { return limits_; }
  std::int64_t trials() const { return static_cast<std::int64_t>(planned_.size()); }

 private:
  using ArmSeed = std::pair<std::string, std::int64_t>;

  bool plan(const std::vector<Arm>& arms, std::int64_t seeds);
  std::vector<Trial> unanswered(const std::vector<Arm>& arms, std::int64_t seeds) const;

  LossOracle& oracle_;
  TrialLimits limits_;
  std::set<ArmSeed> planned_;
  std::map<std::string, std::vector<double>> losses_;
};

// Thrown through a search whose next question has no answer. No std::exception, because nothing
// failed: the search catches it and keeps what it has found so far.
struct TrialsEnded {
  PairedTrials::Result result;  // stopped or exhausted
};

// Successive halving (Jamieson and Talwalkar, arXiv 1502.07943): all arms with one seed, the better
// half of them with two, and so on until `keep` are left, which get as many as the last rung.
// `baseline` is measured with them. The survivors, best first. Throws TrialsEnded.
std::vector<Arm> race(PairedTrials& trials, const Arm& baseline, std::vector<Arm> arms,
                      std::size_t keep);

// Adds seeds until the 95 % interval of losses(a) - losses(b) excludes `bound` or limits().seeds
// are spent. Looking at it after every seed makes a false decision likelier than 5 %: what is to be
// claimed has to be measured again with fresh seeds. Throws TrialsEnded.
void measure_until_clear(PairedTrials& trials, const Arm& a, const Arm& b, double bound);

}  // namespace blockwise
