// Adafactor as published (Shazeer and Stern, arXiv 1804.04235, Algorithms 4 and 5), in the form of
// transformers.Adafactor; adafactor.cpp is torch's form, whose eps1 is a floor.
//   beta_t = 1 - t^beta2_decay;  r <- beta_t r + (1 - beta_t) mean_j (g'^2 + eps1), c alike over i
//   u = g' (r / mean(r))^-1/2 c^-1/2;  u <- u / max(1, rms(u) / d)
//   a = rho max(eps2, rms(w)), or rho without scale_parameter
//   rho = min(lr, 1 / sqrt(t)) for rate "relative", lr for "learning_rate"
//   m <- beta1 m + (1 - beta1) a u, or m = a u for beta1 = 0;  w <- (1 - a wd) w - m
// "relative" is the paper's and the package's relative_step with learning_rate 0.01; its
// warmup_init is a warm-up of the schedule here. Decay is relative to the size of the weights as
// the step is. A vector keeps all of v. Deviations: none for vectors and matrices; a tensor of more
// axes is the matrix [first, rest], where the package factors the last two. State: 4 (rows +
// columns) bytes a matrix, 4 a parameter of a vector, and 4 a parameter with beta1.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/matrices/factored_moment.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct AdafactorOriginalOptions {
  std::string rate = "relative";
  bool scale_parameter = true;
  double beta1 = 0.0;
  double beta2_decay = -0.8;
  double eps1 = 1e-30;
  double eps2 = 1e-3;
  double clip_threshold = 1.0;

  void visit(FieldVisitor& v) {
    v.choice(
        {"rate", "relative: the learning rate, at most 1 / sqrt(step); learning_rate: as it is"},
        rate, {"relative", "learning_rate"});
    v.boolean({"scale_parameter", "steps are relative to the root mean square of the weights"},
              scale_parameter);
    v.real({"beta1", "decay of an average of steps; 0: none is kept"}, beta1,
           {0.0, 1.0, false, true});
    v.real({"beta2_decay", "exponent of the step t in the average's weight t^beta2_decay"},
           beta2_decay, {-10.0, 0.0});
    v.real({"eps1", "added to squared gradients"}, eps1, {0.0, 1.0, true, false});
    v.real({"eps2", "least root mean square of the weights that a step is relative to"}, eps2,
           {0.0, 1.0});
    v.real({"clip_threshold", "bound of the root mean square of a step before it is scaled"},
           clip_threshold, {0.0, 1e6, true, false});
  }
};

class AdafactorOriginal : public UpdateRule {
 public:
  using Options = AdafactorOriginalOptions;
  explicit AdafactorOriginal(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs;
    add_factored_moment(specs, parameter, "exp_avg_sq");
    if (options_.beta1 > 0.0) specs.push_back({"exp_avg", parameter.shape});
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const double t = double(scope.step);
    const auto g = scaled_gradient(p, scope);
    const FactoredMoment moment(p.parameter, p.state, 0);
    moment.average(g.square() + options_.eps1, std::pow(t, options_.beta2_decay));
    auto u = g * moment.inverse_root();
    u = u / (root_mean_square(u) / options_.clip_threshold).clamp_min(1.0);
    const double rho = options_.rate == "relative"
                           ? std::min(scope.learning_rate, 1.0 / std::sqrt(t))
                           : scope.learning_rate;
    const auto w = as_matrix(p, p.weight);
    const auto size = options_.scale_parameter ? root_mean_square(w).clamp_min(options_.eps2)
                                               : at::ones({}, g.options().dtype(at::kDouble));
    const StepSize step{rho, rho * p.weight_decay, scaled_rates(p, size)};
    if (options_.beta1 == 0.0) return take_step(w, u, step);
    const auto m = as_matrix(p, p.state.load(moment.end()));
    m.mul_(options_.beta1).add_(u * (size * rho), 1.0 - options_.beta1);
    // take_step() multiplies by the size, which is in m already.
    return take_step(w, m / size, {1.0, step.shrink, step.rate});
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_adafactor_original() {
  return rule_spec<AdafactorOriginal>(
      {"adafactor_original", "Adafactor as published: relative steps, eps added, optional beta1"});
}

}  // namespace blockwise
