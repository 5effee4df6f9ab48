// Sophia-G (Liu et al., arXiv 2305.14342, Algorithms 2 and 3): momentum over an average of the
// Gauss-Newton matrix's diagonal, cut to the learning rate.
//   before the steps 1, 1 + curvature_every, ...: h <- beta2 h + (1 - beta2) h^, with
//   h^ = B g^2 at the present weights, g the mean gradient of B labels that are sampled from the
//   model's own output on the step's batch
//   m <- beta1 m + (1 - beta1) g';  w <- (1 - lr wd) w - lr clip(m / (rho h + eps), 1)
// No bias corrections. rho and eps as in the authors' repository, where B multiplies h in the step
// instead and no estimate is made before step 1; the paper's gamma is rho, its max(gamma h, eps) is
// here rho h + eps. Without an estimate, or where h is 0, the step is the sign of m. Any other
// estimate of the diagonal that is not negative serves as well. State: 8 bytes per parameter.
#include <ATen/ATen.h>

#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct SophiaOptions {
  double beta1 = 0.965;
  double beta2 = 0.99;
  double rho = 0.04;
  double eps = 1e-15;
  std::int64_t curvature_every = 10;

  void visit(FieldVisitor& v) {
    v.real({"beta1", "decay of the average of gradients"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the average of curvatures"}, beta2, {0.0, 1.0, false, true});
    v.real({"rho", "of the curvature by which the average is divided; more: shorter steps"}, rho,
           {0.0, 1e6, true, false});
    v.real({"eps", "added to rho times the curvature"}, eps, {0.0, 1.0, true, false});
    v.integer({"curvature_every",
               "steps between estimates of the curvature, from step 1 on; each "
               "costs a forward and backward pass with labels that the model samples"},
              curvature_every, {1, std::int64_t{1} << 40});
  }
};

class SophiaG : public UpdateRule {
 public:
  using Options = SophiaOptions;
  explicit SophiaG(const Options& options) : options_(options) {}

  RuleTraits traits(const TensorPartition&) const override {
    return {.curvature_every = options_.curvature_every};
  }
  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"exp_avg", parameter.shape}, {"hessian", parameter.shape, StateUse::non_negative}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }

  void learn_curvature(const ParameterStep& p) const override {
    p.state.load(1).mul_(options_.beta2).add_(p.gradient, 1.0 - options_.beta2);
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto m = as_matrix(p, p.state.load(0)), h = as_matrix(p, p.state.load(1));
    m.mul_(options_.beta1).add_(scaled_gradient(p, scope), 1.0 - options_.beta1);
    const auto direction = (m / (h * options_.rho).add_(options_.eps)).clamp_(-1.0, 1.0);
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_sophia_g() {
  return rule_spec<SophiaG>({"sophia_g",
                             "momentum over the curvature, from labels that the model samples, cut "
                             "to the learning rate"});
}

}  // namespace blockwise
