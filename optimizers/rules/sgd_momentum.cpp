// SGD with heavy-ball or Nesterov momentum (Sutskever et al., ICML 2013, in the form of
// torch.optim.SGD without dampening): b <- momentum b + g; w <- (1 - lr wd) w - lr b, or - lr (g +
// momentum b). Deviation from torch.optim.SGD: weight decay is decoupled, as for every rule here.
// State: momentum_buffer, 4 bytes per parameter.
#include <ATen/ATen.h>

#include "optimizers/flat_steps.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the buffer"}, momentum, {0.0, 1.0, false, true});
    v.boolean({"nesterov", "look-ahead form"}, nesterov);
  }
};

class SgdMomentum : public UpdateRule, public FusedStep, public FlatStep {
 public:
  using Options = SgdOptions;
  explicit SgdMomentum(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"momentum_buffer", parameter.shape}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const override {
    return {.kind = kernels::FlatRule::Kind::momentum, .sgd = sgd_step(scope, weight_decay)};
  }
  bool set_moment(const PartitionSection&, kernels::FlatSection& flat) const override {
    flat.moment = kernels::FlatSection::Moment::none;
    return true;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step = sgd_step(scope, p.weight_decay);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t) {
      return kernels::sgd_momentum(rows, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto b = as_matrix(p, p.state.load(0));
    b.mul_(options_.momentum).add_(g);
    return take_step(as_matrix(p, p.weight), options_.nesterov ? g + b * options_.momentum : b,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  kernels::SgdStep sgd_step(const StepScope& scope, double weight_decay) const {
    auto step = kernels::SgdStep::of(scope.learning_rate, weight_decay, scope.gradient_scale);
    step.momentum = static_cast<float>(options_.momentum);
    step.nesterov = options_.nesterov;
    return step;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_sgd_momentum() {
  return rule_spec<SgdMomentum>({"sgd_momentum", "SGD with momentum and decoupled weight decay"});
}

}  // namespace blockwise
