// NAdamW: AdamW with Nesterov's look-ahead (Dozat, ICLR workshop 2016), in the form of the AlgoPerf
// baselines (Dahl et al., arXiv 2306.07179):
//   m <- beta1 m + (1 - beta1) g';  v <- beta2 v + (1 - beta2) g'^2
//   w <- (1 - lr wd) w - lr (beta1 m + (1 - beta1) g') / (1 - beta1^t)
//                          / (sqrt(v / (1 - beta2^t)) + eps)
// with the new m; decay first and eps as in torch.optim.AdamW. Deviation from torch.optim.NAdam:
// that one has a schedule of beta1 and other corrections. State: exp_avg and exp_avg_sq, 8 bytes
// per parameter. The CPU's kernel is AdamW's, whose fused multiply-adds round m, v and w once where
// tensor operations round a product and a sum: units in the last place.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/adam_options.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

class NadamW : public UpdateRule, public FusedStep {
 public:
  using Options = AdamOptions;
  explicit NadamW(const Options& options) : options_(options) {}

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

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    auto step = options_.step(scope, p.weight_decay);
    step.nesterov = true;
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t first) {
      return kernels::adam_per_element(rows, p.state.data(1) + first, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0)), v = as_matrix(p, p.state.load(1));
    const auto moment = options_.second_moment(scope.step);
    m.mul_(options_.beta1).add_(g, 1.0 - options_.beta1);
    v.mul_(moment.keep).addcmul_(g, g, moment.add);
    const auto ahead = (m * options_.beta1).add_(g, 1.0 - options_.beta1);
    const auto root = v.sqrt().div_(std::sqrt(moment.bias)).add_(options_.eps);
    auto size = options_.size(scope, p.weight_decay);
    size.rate = element_rates(p);
    return take_step(as_matrix(p, p.weight), ahead / root, size);
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_nadamw() {
  return rule_spec<NadamW>({"nadamw", "AdamW with Nesterov's look-ahead"});
}

}  // namespace blockwise
