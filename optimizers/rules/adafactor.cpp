// Adafactor (Shazeer and Stern, arXiv 1804.04235, Algorithms 4 and 5) in the form of
// torch.optim.Adafactor: the second moment as a product of row and column means, the step bounded
// and relative to the size of the weights.
//   beta_t = 1 - t^beta2_decay;  r <- beta_t r + (1 - beta_t) mean_j g'^2, c alike over i
//   v = r c / max(mean(r), eps1);  u = g' / sqrt(max(v, eps1^2));  u <- u / max(1, rms(u) / d)
//   w <- (1 - lr wd) w - max(eps2, rms(w)) min(lr, 1 / sqrt(t)) u
// rms(w) is that before decay. A vector keeps v. No momentum, no bias correction: beta_1 = 0.
// Deviations: none from torch for vectors and matrices; a tensor of more axes is the matrix [first,
// rest], where torch factors the last two. State: 4 (rows + columns) bytes a matrix, 4 a parameter
// of a vector.
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

struct AdafactorOptions {
  double beta2_decay = -0.8;
  double eps1 = 1.1920928955078125e-07;  // of float32, as torch has it
  double eps2 = 1e-3;
  double clip_threshold = 1.0;
  void visit(FieldVisitor& v) {
    v.real({"beta2_decay", "exponent of the step t in the average's weight t^beta2_decay"},
           beta2_decay, {-10.0, 0.0});
    v.real({"eps1", "least root of the second moment, and least mean of its rows"}, eps1,
           {0.0, 1.0, true, false});
    v.real({"eps2", "least root mean square of the weights that a step is relative to"}, eps2,
           {0.0, 1.0});
    v.real({"clip_threshold", "bound of the root mean square of a step before it is scaled"},
           clip_threshold, {0.0, 1e6, true, false});
  }
};

class Adafactor : public UpdateRule {
 public:
  using Options = AdafactorOptions;
  explicit Adafactor(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs;
    add_factored_moment(specs, parameter, "exp_avg_sq");
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const double t = double(scope.step), lr = scope.learning_rate;
    const auto g = scaled_gradient(p, scope);
    const FactoredMoment moment(p.parameter, p.state, 0);
    moment.average(g.square(), std::pow(t, options_.beta2_decay));
    const auto u =
        g * moment.product(options_.eps1).clamp_min(options_.eps1 * options_.eps1).rsqrt_();
    const auto bound = (root_mean_square(u) / options_.clip_threshold).clamp_min(1.0);
    const auto size = root_mean_square(p.weight).clamp_min(options_.eps2);
    return take_step(as_matrix(p, p.weight), u * (size / bound),
                     {std::min(lr, 1.0 / std::sqrt(t)), lr * p.weight_decay, element_rates(p)});
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_adafactor() {
  return rule_spec<Adafactor>(
      {"adafactor", "Adafactor of torch: factored second moment, steps relative to the weights"});
}

}  // namespace blockwise
