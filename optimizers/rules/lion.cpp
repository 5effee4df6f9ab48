// Lion (Chen et al., arXiv 2302.06675, Algorithm 2), in the order of the authors' release:
//   w <- (1 - lr wd) w - lr sign(beta1 m + (1 - beta1) g');  m <- beta2 m + (1 - beta2) g'
// sign(0) = 0; no eps, no bias correction. Rates are 3 to 10 times below AdamW's, decays as much
// above. Deviations: none. State: exp_avg, 4 bytes per parameter. The CPU's kernel takes the steps
// of the tensor operations bit for bit; where blocks have rates of their own, it rounds the factor
// of the decay once, they twice: a unit in the last place of w.
#include <ATen/ATen.h>

#include "optimizers/flat_steps.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct LionOptions {
  double beta1 = 0.9;
  double beta2 = 0.99;
  void visit(FieldVisitor& v) {
    v.real({"beta1", "of the average in a step's sign"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the average of gradients"}, beta2, {0.0, 1.0, false, true});
  }
};

class Lion : public UpdateRule, public FusedStep, public FlatStep {
 public:
  using Options = LionOptions;
  explicit Lion(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"exp_avg", parameter.shape}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const override {
    return {.kind = kernels::FlatRule::Kind::lion, .adam = step_of(scope, weight_decay)};
  }
  bool set_moment(const PartitionSection&, kernels::FlatSection& flat) const override {
    flat.moment = kernels::FlatSection::Moment::none;
    return true;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step = step_of(scope, p.weight_decay);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t) {
      return kernels::lion_step(rows, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0));
    const auto direction = (m * options_.beta1).add_(g, 1.0 - options_.beta1).sign_();
    m.mul_(options_.beta2).add_(g, 1.0 - options_.beta2);
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  kernels::AdamStep step_of(const StepScope& scope, double weight_decay) const {
    kernels::AdamStep step;
    step.beta1 = static_cast<float>(options_.beta1);
    step.one_minus_beta1 = static_cast<float>(1.0 - options_.beta1);
    step.beta2 = static_cast<float>(options_.beta2);
    step.one_minus_beta2 = static_cast<float>(1.0 - options_.beta2);
    step.step_size = static_cast<float>(scope.learning_rate);
    step.decay = static_cast<float>(1.0 - scope.learning_rate * weight_decay);
    step.shrink = static_cast<float>(scope.learning_rate * weight_decay);
    step.gradient_scale = static_cast<float>(scope.gradient_scale);
    return step;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_lion() {
  return rule_spec<Lion>({"lion", "the sign of an average of gradients"});
}

}  // namespace blockwise
