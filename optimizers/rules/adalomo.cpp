// AdaLomo (Lv et al., arXiv 2310.10195, Algorithm 1), as the package lomo-optim has it: Adafactor's
// factored second moment without momentum, to be run inside the backward pass with
// trainer.gradients: released.
//   beta_t = 1 - t^decay_rate;  r, c <- averages of the row and column means of g'^2 + eps1
//   u = g' (r / mean(r))^-1/2 c^-1/2;  u <- u / max(1, rms(u) / clip_threshold)
//   s = lr max(eps2, rms(w));  w <- (1 - s wd) w - s u
// The decay is relative to the weights as the step is. A vector keeps v. Deviations: no loss scale
// (float32 needs none). State: 4 (rows + columns) bytes a matrix, 4 a parameter of a vector.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/matrices/factored_moment.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct AdaLomoOptions {
  double decay_rate = -0.8;
  double eps1 = 1e-30;
  double eps2 = 1e-3;
  double clip_threshold = 1.0;
  void visit(FieldVisitor& v) {
    v.real({"decay_rate", "exponent of the step t in the average's weight t^decay_rate"},
           decay_rate, {-10.0, 0.0});
    v.real({"eps1", "added to squared gradients"}, eps1, {0.0, 1.0, true, false});
    v.real({"eps2", "least root mean square of the weights that a step is relative to"}, eps2,
           {0.0, 1.0});
    v.real({"clip_threshold", "bound of the root mean square of a step before it is scaled"},
           clip_threshold, {0.0, 1e6, true, false});
  }
};

class AdaLomo : public UpdateRule {
 public:
  using Options = AdaLomoOptions;
  explicit AdaLomo(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs;
    add_factored_moment(specs, parameter, "exp_avg_sq");
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const FactoredMoment moment(p.parameter, p.state, 0);
    moment.average(g.square() + options_.eps1, std::pow(double(scope.step), options_.decay_rate));
    const auto u = g * moment.inverse_root();
    const auto bound = (root_mean_square(u) / options_.clip_threshold).clamp_min(1.0);
    const auto w = as_matrix(p, p.weight);
    const auto size = root_mean_square(w).clamp_min(options_.eps2);
    return take_step(
        w, u / bound,
        {scope.learning_rate, scope.learning_rate * p.weight_decay, scaled_rates(p, size)});
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_adalomo() {
  return rule_spec<AdaLomo>(
      {"adalomo", "LOMO with Adafactor's second moment, for gradients that are released"});
}

}  // namespace blockwise
