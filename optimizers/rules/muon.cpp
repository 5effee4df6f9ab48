// Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024), in the
// form of torch.optim.Muon: momentum whose singular values are set to about 1.
//   m <- momentum m + (1 - momentum) g';  u = (1 - momentum) g' + momentum m, or m without Nesterov
//   w <- (1 - lr wd) w - lr s orthogonalized(u)
// s and the polynomials by which momentum is orthogonalized: orthogonal_momentum.hpp. With
// rate_scale "match_rms_adamw" the rates of AdamW fit, and one learning rate serves both rules.
// Only matrices; what `fallback` takes has a rule of its own. A fused tensor is one matrix. State:
// momentum_buffer, 4 bytes per parameter.
#include <ATen/ATen.h>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/orthogonal_momentum.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct MuonOptions {
  OrthogonalMomentum average;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    average.visit(v);
    fallback.visit(v, {"fallback", "the rule of all that Muon does not take"});
  }
};

class Muon : public UpdateRule {
 public:
  using Options = MuonOptions;
  explicit Muon(const Options& options) : average_(options.average) {}

  RuleTraits traits(const TensorPartition&) const override { return {.stacks = true}; }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"momentum_buffer", parameter.shape}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto direction =
        average_.direction(scaled_gradient(p, scope), as_matrix(p, p.state.load(0)));
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate * average_.scale(p.parameter),
                      scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  OrthogonalMomentum average_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_muon() {
  return rule_spec<Muon>(
      {"muon",
       "momentum with all singular values near 1, for matrices; another rule for the rest"});
}

}  // namespace blockwise
