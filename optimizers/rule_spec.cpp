#include "optimizers/rule_spec.hpp"

#include <algorithm>

namespace blockwise {

#define BLOCKWISE_RULE(name, maker) std::unique_ptr<RuleSpec> maker();
#include "optimizers/registry.inc"
#undef BLOCKWISE_RULE

const Registry<RuleSpec>& update_rules() {
#define BLOCKWISE_RULE(name, maker) {name, maker},
  static const Registry<RuleSpec> rules("optimizer", {
#include "optimizers/registry.inc"
                                                     });
#undef BLOCKWISE_RULE
  return rules;
}

namespace {

// Of rules that take every parameter, whatever the others are.
std::vector<std::string> whole_rules() {
  std::vector<std::string> names;
  for (const auto& entry : update_rules()) {
    const auto spec = entry.make();
    if (spec->fallback() == nullptr && !spec->takes_turns()) names.push_back(entry.name);
  }
  return names;
}

}  // namespace

void FallbackRule::visit(FieldVisitor& v, const Field& section) {
  v.begin_section(section);
  v.choice({"rule", "update rule"}, rule, whole_rules());
  v.real({"learning_rate", "peak of the same schedule; 0: optimizer.learning_rate"}, learning_rate,
         {0.0, 1e3});
  v.choice_list({"roles", "of matrices that it takes, beside all that are no matrices"}, roles,
                role_names());
  if (!spec || spec->name() != rule) spec = update_rules().make(rule);
  spec->visit(v);
  v.end_section();
}

bool FallbackRule::takes(const Parameter& parameter) const {
  return !parameter.is_matrix() || std::ranges::count(roles, role_name(parameter.role)) > 0;
}

}  // namespace blockwise
