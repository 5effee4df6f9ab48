// AdamW (Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2), in the order and with the eps of
// torch.optim.AdamW: decay first, eps after the root and the bias correction.
// State: exp_avg and exp_avg_sq, 8 bytes per parameter.
#include <ATen/ATen.h>

#include "optimizers/adam_options.hpp"
#include "optimizers/flat_steps.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

class AdamW : public UpdateRule, public FusedStep, public FlatStep {
 public:
  using Options = AdamOptions;
  explicit AdamW(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"exp_avg", parameter.shape}, {"exp_avg_sq", parameter.shape, StateUse::non_negative}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const override {
    return {.kind = kernels::FlatRule::Kind::adam, .adam = options_.step(scope, weight_decay)};
  }
  bool set_moment(const PartitionSection&, kernels::FlatSection& flat) const override {
    flat.moment = kernels::FlatSection::Moment::elements;
    flat.value = flat.begin;
    return true;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step = options_.step(scope, p.weight_decay);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t first) {
      return kernels::adam_per_element(rows, p.state.data(1) + first, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0)), v = as_matrix(p, p.state.load(1));
    const auto moment = options_.second_moment(scope.step);
    v.mul_(moment.keep).addcmul_(g, g, moment.add);
    auto size = options_.size(scope, p.weight_decay);
    size.rate = element_rates(p);
    return adam_tensors({as_matrix(p, p.weight), g, m, v}, options_, scope, size);
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_adamw() {
  return rule_spec<AdamW>({"adamw", "AdamW: two moments per parameter"});
}

}  // namespace blockwise
