// Short training runs that differ in one thing, paired by seed: the same start, the same batches.
// What a search that is judged by the loss asks, and the only part of it that runs anything.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/sample_summary.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise {

// One alternative. Arms with equal ids are the same configuration.
struct Arm {
  std::string id;  // a valid folder name
  RunConfig config;
};

// A run as a trial: `steps` of it (0: all of them), nothing measured beside it.
RunConfig trial_run(RunConfig config, std::int64_t steps);

// Nats: the loss of a run that diverged, above any real one, and finite so that two do not differ.
inline constexpr double kDivergedLoss = 1e3;

struct TrialLimits {
  std::string program;      // path of blockwise
  std::int64_t jobs = 1;    // runs at a time
  std::int64_t budget = 0;  // runs in all, those of earlier calls included
  std::int64_t seeds = 5;   // 1 .. seeds per arm at most
};

class PairedTrials {
 public:
  enum class Result {
    measured,
    stopped,   // by a signal: the same calls continue
    exhausted  // the budget does not cover it, nothing was run
  };

  // Runs go to folder/members, with a manifest that `report` reads.
  PairedTrials(std::filesystem::path folder, TrialLimits limits)
      : folder_(std::move(folder)), limits_(std::move(limits)) {}

  // Every arm with the seeds 1 .. seeds (limits().seeds at most). Runs that are there are kept.
  // Throws std::runtime_error where a run fails.
  Result measure(const std::vector<Arm>& arms, std::int64_t seeds);

  // Final validation losses, of the seeds 1, 2, ...
  const std::vector<double>& losses(const Arm& arm) const { return losses_.at(arm.id); }
  double mean_loss(const Arm& arm) const;
  // losses(a) - losses(b), of the seeds that both have.
  PairedTest difference(const Arm& a, const Arm& b) const;

  const TrialLimits& limits() const { return limits_; }
  std::int64_t runs() const { return static_cast<std::int64_t>(planned_.size()); }

 private:
  bool plan(const std::vector<Arm>& arms, std::int64_t seeds);
  void read(const Arm& arm, std::int64_t seeds);

  std::filesystem::path folder_;
  TrialLimits limits_;
  std::vector<std::pair<Arm, std::int64_t>> planned_;  // with its seed
  std::set<std::pair<std::string, std::int64_t>> known_;
  std::map<std::string, std::vector<double>> losses_;
};

// Successive halving (Jamieson and Talwalkar, arXiv 1502.07943): all arms with one seed, the better
// half of them with two, and so on until `keep` are left, which get as many as the last rung.
// `baseline` is measured with them. Best first. `result` is what ended it.
struct Race {
  PairedTrials::Result result = PairedTrials::Result::measured;
  std::vector<Arm> survivors;
};
Race race(PairedTrials& trials, const Arm& baseline, std::vector<Arm> arms, std::size_t keep);

// Adds seeds until the 95 % interval of losses(a) - losses(b) excludes `bound` or limits().seeds
// are spent. Looking at it after every seed makes a false decision likelier than 5 %: what is to be
// claimed has to be measured again with fresh seeds.
PairedTrials::Result measure_until_clear(PairedTrials& trials, const Arm& a, const Arm& b,
                                         double bound);

}  // namespace blockwise
