#include "optimizers/update_rule.hpp"

#include "core/error.hpp"

namespace blockwise {

#define BLOCKWISE_RULE(name, maker) std::unique_ptr<RuleSpec> maker();
#include "optimizers/registry.inc"
#undef BLOCKWISE_RULE

void UpdateRule::update_merged(const std::vector<MergedSection>&, const StepInfo&,
                               kernels::Workspace&) const {
  throw InputError("this optimizer rule knows no partition whose sections are merged");
}

const std::vector<RuleEntry>& update_rules() {
  static const std::vector<RuleEntry> rules = {
#define BLOCKWISE_RULE(name, maker) {name, maker},
#include "optimizers/registry.inc"
#undef BLOCKWISE_RULE
  };
  return rules;
}

std::unique_ptr<RuleSpec> make_rule_spec(const std::string& name) {
  for (const auto& candidate : update_rules()) {
    if (candidate.name == name) return candidate.make();
  }
  throw InputError(fmt::format("unknown optimizer '{}'", name));
}

}  // namespace blockwise
