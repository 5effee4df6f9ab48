// CAME (Luo et al., arXiv 2307.02047, Algorithm 2), as the package came-pytorch has it: Adafactor's
// step, averaged, and divided by how far it strays from its average.
//   r, c <- averages by beta2 of the row and column means of g'^2 + eps1
//   u = g' (r / mean(r))^-1/2 c^-1/2;  u <- u / max(1, rms(u) / clip_threshold)
//   m <- beta1 m + (1 - beta1) u;  R, C <- averages by beta3 of the means of (u - m)^2 + eps2
//   w <- (1 - lr wd) w - lr m (R / mean(R))^-1/2 C^-1/2
// A vector keeps v, and its step is m. No bias correction, as in the package. Deviations: a tensor
// of more axes is the matrix [first, rest]. State: 4 bytes a parameter and 8 (rows + columns) a
// matrix; 8 a parameter of a vector.
#include <ATen/ATen.h>

#include "optimizers/matrices/factored_moment.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct CameOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double beta3 = 0.9999;
  double eps1 = 1e-30;
  double eps2 = 1e-16;
  double clip_threshold = 1.0;
  void visit(FieldVisitor& v) {
    v.real({"beta1", "decay of the average of steps"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"beta3", "decay of the instability"}, beta3, {0.0, 1.0, false, true});
    v.real({"eps1", "added to squared gradients"}, eps1, {0.0, 1.0, true, false});
    v.real({"eps2", "added to the squared distance from the average"}, eps2,
           {0.0, 1.0, true, false});
    v.real({"clip_threshold", "bound of the root mean square of a step before it is averaged"},
           clip_threshold, {0.0, 1e6, true, false});
  }
};

class Came : public UpdateRule {
 public:
  using Options = CameOptions;
  explicit Came(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs{{"exp_avg", parameter.shape}};
    add_factored_moment(specs, parameter, "exp_avg_sq");
    if (parameter.is_matrix()) add_factored_moment(specs, parameter, "exp_avg_res");
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const FactoredMoment moment(p.parameter, p.state, 1);
    moment.average(g.square() + options_.eps1, 1.0 - options_.beta2);
    auto u = g * moment.inverse_root();
    u = u / (root_mean_square(u) / options_.clip_threshold).clamp_min(1.0);
    const auto m = as_matrix(p, p.state.load(0));
    m.mul_(options_.beta1).add_(u, 1.0 - options_.beta1);
    auto direction = m;
    if (p.parameter.is_matrix()) {
      const FactoredMoment instability(p.parameter, p.state, moment.end());
      instability.average((u - m).square() + options_.eps2, 1.0 - options_.beta3);
      direction = m * instability.inverse_root();
    }
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_came() {
  return rule_spec<Came>(
      {"came", "CAME: Adafactor with momentum, trusted by how steady its steps are"});
}

}  // namespace blockwise
