#include "optimizers/rates/rate_config.hpp"

#include <algorithm>

namespace blockwise {
namespace {

double blockwise_lr(ParameterRole role) {
  switch (role) {
    case ParameterRole::token_embedding:
    case ParameterRole::lm_head:
      return 10.0;
    case ParameterRole::query:
    case ParameterRole::key:
      return 8.0;
    case ParameterRole::mlp_in:
    case ParameterRole::mlp_gate:
    case ParameterRole::mlp_out:
      return 6.0;
    case ParameterRole::value:
    case ParameterRole::attention_output:
      return 4.0;
    default:
      return 1.0;
  }
}

}  // namespace

std::vector<std::string> rate_methods() { return {"uniform", "by_role", "blockwise_lr", "llr"}; }

double RateConfig::factor(ParameterRole role) const {
  const auto found = by_role.find(role);
  if (found != by_role.end()) return found->second;
  return method == "blockwise_lr" ? blockwise_lr(role) : 1.0;
}

void RateConfig::visit(FieldVisitor& v) {
  v.choice({"method",
            "uniform: learning_rate for all; by_role: a factor for every role; blockwise_lr: that "
            "paper's factors; llr: factors from the spectra of the weights"},
           method, rate_methods());
  if (is_by_role()) {
    if (floor < 0.0) floor = method == "blockwise_lr" ? 0.1 : 0.0;
    v.real(
        {"floor", "share of learning_rate down to which all roles' rates fall together; 0: none"},
        floor, {0.0, 1.0, false, true});
    for (int i = 0; i < kParameterRoleCount; ++i) {
      const auto role = static_cast<ParameterRole>(i);
      double chosen = factor(role);
      v.real({role_name(role), "factor of learning_rate at its peak, for this role"}, chosen,
             {0.0, 1e3});
      if (chosen != factor(role)) by_role[role] = chosen;
    }
  }
  if (method == "llr") {
    v.real({"lowest", "factor of the matrix with the heaviest tail"}, lowest, {0.0, 1e3});
    v.real({"highest", "of the one with the lightest, of embedding and head"}, highest, {0.0, 1e3});
    v.integer({"update_every", "steps between decompositions of all matrices"}, update_every,
              {1, std::int64_t{1} << 40});
    v.integer({"ramp_steps", "in which factors become the new ones"}, ramp_steps,
              {1, std::int64_t{1} << 40});
    v.integer({"until_step",
               "steps after which factors stay; the authors take a fifth of a run; "
               "0: never"},
              until_step, {0, std::int64_t{1} << 40});
    v.check("ramp_steps", ramp_steps > update_every ? "at most update_every" : "");
    v.check("lowest", lowest > highest ? "at most highest" : "");
  }
}

}  // namespace blockwise
