// Hyperball (AdamH, MuonH: records of modded-nanogpt's optimizer track): the direction u of any
// rule of whole matrices, in steps of one length relative to the matrix, whose norm stays what it
// is.
//   w' = w - lr ||w|| u / ||u||;  w <- w' ||w|| / ||w'||
// u is the change that the rule makes at rate 1 without decay, and its scale with the sides does
// not count. Rates per block multiply the step before the projection. Weight decay would change the
// norm alone and is left out. A matrix of zeros never moves, so projections must not start at 0.
// State: the rule's; the norm is not kept but measured, so that it drifts by a rounding a step.
#include <ATen/ATen.h>

#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"

namespace blockwise {
namespace {

// numerator / denominator of 0-d tensors, `otherwise` where the denominator is 0.
at::Tensor ratio(const at::Tensor& numerator, const at::Tensor& denominator, double otherwise) {
  return at::where(denominator > 0, numerator / denominator, otherwise);
}

class Hyperball : public UpdateRule {
 public:
  explicit Hyperball(std::unique_ptr<UpdateRule> rule) : rule_(std::move(rule)) {}

  RuleTraits traits(const TensorPartition& partition) const override {
    auto traits = rule_->traits(partition);
    traits.stacks = false;  // norms here are of single tensors
    return traits;
  }
  std::vector<StateSpec> state(const Parameter& parameter,
                               const TensorPartition& partition) const override {
    return rule_->state(parameter, partition);
  }
  void learn_curvature(const ParameterStep& p) const override { rule_->learn_curvature(p); }
  bool rests(const Parameter& parameter, const StepScope& scope) const override {
    return rule_->rests(parameter, scope);
  }
  bool forgets(const StepScope& scope) const override { return rule_->forgets(scope); }
  void begin_step(std::span<ParameterStep> parameters, const StepScope& scope) const override {
    rule_->begin_step(parameters, scope);
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto w = as_matrix(p, p.weight);
    const auto old = w.clone();
    const auto u = direction(p, scope);
    const auto norm = fixed_norm(w);
    const auto step = ratio(norm, fixed_norm(u), 0.0) * scope.learning_rate;
    w.sub_(u * scaled_rates(p, step));
    w.mul_(ratio(norm, fixed_norm(w), 1.0));
    return fixed_sum((w - old).to(at::kDouble).square());
  }

 private:
  at::Tensor direction(const ParameterStep& p, const StepScope& scope) const {
    const auto type = at::promote_types(p.weight.scalar_type(), at::kFloat);
    const auto start = p.weight.to(type, false, true);  // a copy
    const ParameterStep step{p.parameter, p.partition, start.clone(), p.gradient,
                             p.state,     0.0,         nullptr,       p.first_element};
    const StepScope unit{scope.step,  1.0,         scope.gradient_scale, scope.seed,
                         scope.space, scope.draws, scope.layers};
    if (const auto* fused = rule_->fused(KernelKey::of(step))) {
      fused->apply(step, unit);
    } else {
      rule_->update(step, unit);
    }
    return as_matrix(p, start - step.weight);
  }

  std::unique_ptr<UpdateRule> rule_;
};

}  // namespace

void visit_hyperball(FieldVisitor& v, bool& on) {
  v.boolean({"hyperball",
             "steps of learning_rate times a matrix's norm, which stays what it is; no decay"},
            on);
}

std::unique_ptr<UpdateRule> on_hyperball(std::unique_ptr<UpdateRule> rule) {
  return std::make_unique<Hyperball>(std::move(rule));
}

}  // namespace blockwise
