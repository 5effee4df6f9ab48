// StableAdamW (Wortsman et al., arXiv 2304.13013, Algorithm 2): AdamW whose rate falls, tensor by
// tensor, where gradients outgrow their second moment. With b_t = beta (1 - beta^(t-1)) / (1 -
// beta^t), whose averages need no bias correction:
//   m <- b1_t m + (1 - b1_t) g';  v <- b2_t v + (1 - b2_t) g'^2
//   rms = sqrt(mean(g'^2 / max(v, eps^2)));  s = lr / max(1, rms)
//   w <- (1 - s wd) w - s m / (sqrt(v) + eps)
// v is the new one, as in the paper. Deviations: none; the Kahan sum of its bfloat16 weights is not
// needed, the weights here are float32. State: exp_avg and exp_avg_sq, 8 bytes per parameter.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct StableAdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  void visit(FieldVisitor& v) {
    v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"eps", "added to the root of the second moment"}, eps, {0.0, 1.0, true, false});
  }
};

// 0 at the first step.
double debiased(double beta, double t) {
  return beta * (1.0 - std::pow(beta, t - 1.0)) / (1.0 - std::pow(beta, t));
}

class StableAdamW : public UpdateRule {
 public:
  using Options = StableAdamWOptions;
  explicit StableAdamW(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"exp_avg", parameter.shape}, {"exp_avg_sq", parameter.shape, StateUse::non_negative}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0)), v = as_matrix(p, p.state.load(1));
    const double t = double(scope.step), beta2 = debiased(options_.beta2, t);
    m.lerp_(g, 1.0 - debiased(options_.beta1, t));
    v.mul_(beta2).addcmul_(g, g, 1.0 - beta2);
    const auto ratio = g.square().div_(v.clamp_min(options_.eps * options_.eps));
    const auto slower = (fixed_sum(ratio) / double(g.numel())).sqrt().clamp_min(1.0);
    return take_step(as_matrix(p, p.weight), m / v.sqrt().add_(options_.eps),
                     {scope.learning_rate, scope.learning_rate * p.weight_decay,
                      scaled_rates(p, slower.reciprocal())});
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_stable_adamw() {
  return rule_spec<StableAdamW>(
      {"stable_adamw", "AdamW that slows down where gradients outgrow their second moment"});
}

}  // namespace blockwise
