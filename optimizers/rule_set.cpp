#include "optimizers/rule_set.hpp"

#include "core/base/error.hpp"

namespace blockwise {

RuleSet::RuleSet(const OptimizerConfig& config, const ParameterLayout& layout) {
  members_.push_back({config.rule, config.spec->build(), 1.0, {}});
  const auto* fallback = config.spec->fallback();
  if (fallback != nullptr) {
    const double own = fallback->learning_rate;
    const double rate = own == 0.0 ? 1.0 : own / config.learning_rate;
    require_input(own == 0.0 || config.learning_rate > 0.0,
                  "optimizer.learning_rate is 0, and {} of the other rule cannot follow its "
                  "schedule",
                  own);
    members_.push_back({fallback->rule, fallback->spec->build(), rate, {}});
  }
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    const bool other = fallback != nullptr && fallback->takes(layout.parameters()[i]);
    member_.push_back(other ? 1 : 0);
    members_[member_.back()].parameters.push_back(i);
  }
}

std::vector<RuleShare> rule_shares(const RuleSet& rules, const ParameterLayout& layout) {
  std::vector<RuleShare> shares;
  for (const auto& member : rules.members()) {
    if (member.parameters.empty()) continue;
    auto& share = shares.emplace_back(RuleShare{member.name, std::ssize(member.parameters), 0});
    for (const auto i : member.parameters) share.parameters += layout.parameters()[i].size();
  }
  return shares;
}

}  // namespace blockwise
