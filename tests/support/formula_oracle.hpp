// A loss oracle that answers from formulas: searches without a process or a model.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "experiments/sweeps/loss_oracle.hpp"

namespace blockwise::testing {

class FormulaOracle : public LossOracle {
 public:
  using Formula = std::function<TrialLoss(std::int64_t seed)>;

  FormulaOracle() = default;
  // `others`: for arms that arm() did not make.
  explicit FormulaOracle(Formula others) : others_(std::move(others)) {}

  // The arm of that id, whose losses the formula says.
  Arm arm(const std::string& id, Formula formula) {
    formulas_[id] = std::move(formula);
    return {id, {}};
  }

  // Stops before it answers another trial than so many new ones.
  void stop_after(std::int64_t trials) { left_ = trials; }
  // Answers all that are asked.
  void go_on() { left_ = -1; }

  std::optional<std::vector<TrialLoss>> ask(const std::vector<Trial>& trials) override {
    for (const auto& [arm, seed] : trials) {
      if (known_.contains({arm.id, seed})) continue;
      if (left_ == 0) return std::nullopt;
      if (left_ > 0) --left_;
      const auto found = formulas_.find(arm.id);
      known_[{arm.id, seed}] = (found == formulas_.end() ? others_ : found->second)(seed);
      answered_.push_back(arm.id);
    }
    std::vector<TrialLoss> losses;
    for (const auto& [arm, seed] : trials) losses.push_back(known_.at({arm.id, seed}));
    return losses;
  }

  // The arms of the trials that a formula was computed for, in their order.
  const std::vector<std::string>& answered() const { return answered_; }

 private:
  std::map<std::string, Formula> formulas_;
  Formula others_;  // empty: an error
  std::map<std::pair<std::string, std::int64_t>, TrialLoss> known_;
  std::vector<std::string> answered_;
  std::int64_t left_ = -1;  // -1: no bound
};

}  // namespace blockwise::testing
