// RuleSet: which rule updates which parameter.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/parameters/parameter_layout.hpp"
#include "optimizers/optimizer_config.hpp"

namespace blockwise {

class RuleSet {
 public:
  struct Member {
    std::string name;
    std::unique_ptr<UpdateRule> rule;
    double rate = 1.0;                    // factor of the optimizer's learning rate
    std::vector<std::size_t> parameters;  // of the layout, in its order
  };

  RuleSet(const OptimizerConfig& config, const ParameterLayout& layout);

  // The rule itself, then its fallback where there is one; either may have no parameter.
  const std::vector<Member>& members() const { return members_; }
  const Member& of(std::size_t parameter) const { return members_[member_[parameter]]; }

 private:
  std::vector<Member> members_;
  std::vector<std::size_t> member_;  // by parameter
};

// How much of a model a rule updates.
struct RuleShare {
  std::string rule;
  std::int64_t tensors = 0;
  std::int64_t parameters = 0;
};

// Of every rule that has parameters.
std::vector<RuleShare> rule_shares(const RuleSet& rules, const ParameterLayout& layout);

}  // namespace blockwise
