// FRUGAL (Zmushko et al., arXiv 2411.07837, Algorithm 1), with random columns as the subspace that
// has state, in the form of the authors' repository (coord_choice columns): AdamW there, the sign
// of the gradient elsewhere.
//   every update_every steps the columns J, a share `density` of them, are drawn anew, and m = v =
//   0 m, v, d = (m / (1 - beta1^s)) / (sqrt(v / (1 - beta2^s)) + eps) of g'_J, s steps since then
//   w <- (1 - lr wd) w - lr (d in the columns J, inactive_scale sign(g') in the others)
// Decay first, eps as torch.optim.AdamW. Deviations: the authors' default takes whole layers
// instead of columns; J comes from the stream of the run's seed and is drawn again at every step
// instead of kept. State: 8 rows floor(density columns) bytes a matrix.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/random_draws.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct FrugalOptions {
  double density = 0.25;
  std::int64_t update_every = 200;
  double inactive_scale = 1.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.real({"density", "share of the columns that have state; 0: the sign alone"}, density,
           {0.0, 1.0});
    v.integer({"update_every", "steps between draws of the columns"}, update_every,
              {1, std::int64_t{1} << 40});
    v.real({"inactive_scale", "of a step by sign, in the place of a full one"}, inactive_scale,
           {0.0, 1e3});
    v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"eps", "added to the root of the second moment, after its bias correction"}, eps,
           {0.0, 1.0, true, false});
    fallback.visit(v, {"fallback", "the rule of all that FRUGAL does not take"});
  }
};

class Frugal : public UpdateRule {
 public:
  using Options = FrugalOptions;
  explicit Frugal(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const auto count = active_columns(parameter);
    if (count == 0) return {};
    return {{"exp_avg", {parameter.rows(), count}},
            {"exp_avg_sq", {parameter.rows(), count}, StateUse::non_negative}};
  }

  bool forgets(const StepScope& scope) const override {
    return (scope.step - 1) % options_.update_every == 0;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto direction = g.sign().mul_(options_.inactive_scale);
    if (const auto count = active_columns(p.parameter); count > 0) {
      const auto columns = drawn_indices(p, scope, count, p.parameter.columns(),
                                         (scope.step - 1) / options_.update_every);
      direction.index_copy_(1, columns, adam(p, scope, g.index_select(1, columns)));
    }
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  std::int64_t active_columns(const Parameter& parameter) const {
    return static_cast<std::int64_t>(double(parameter.columns()) * options_.density);
  }

  at::Tensor adam(const ParameterStep& p, const StepScope& scope, const at::Tensor& g) const {
    const auto m = p.state.load(0), v = p.state.load(1);
    const auto since = (scope.step - 1) % options_.update_every;
    m.mul_(options_.beta1).add_(g, 1.0 - options_.beta1);
    v.mul_(options_.beta2).addcmul_(g, g, 1.0 - options_.beta2);
    const double s = double(since + 1);
    const double first = 1.0 - std::pow(options_.beta1, s);
    const double second = std::sqrt(1.0 - std::pow(options_.beta2, s));
    return m / v.sqrt().div_(second).add_(options_.eps).mul_(first);
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_frugal() {
  return rule_spec<Frugal>({"frugal", "AdamW in random columns, the sign elsewhere, for matrices"});
}

}  // namespace blockwise
