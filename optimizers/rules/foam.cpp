// FOAM (arXiv 2512.07112, Algorithm 1), in the form of the authors' repository: Adam on means of
// blocks of 2^level neighbours in a row, with what the means leave out added back.
//   f(x) = means of blocks, the last one filled up with zeros;  h(y) = every mean at all its places
//   m <- beta1 m + (1 - beta1) f(g');  v <- beta2 v + (1 - beta2) f(g'^2)
//   q = g' - h(f(g'));  d = (h(m) + residual q) / (sqrt(h(v) + residual^2 q^2) + eps)
//   w <- (1 - lr wd) (w - lr sqrt(1 - beta2^t) / (1 - beta1^t) scale d)
// With second_moment: folded, v averages f(g')^2, as the paper's formula has it; the code, and the
// default, averages f(g'^2). eps as in galore_adam.hpp. State: 8 rows ceil(columns / 2^level) bytes
// a matrix.
#include <ATen/ATen.h>

#include "optimizers/galore_adam.hpp"
#include "optimizers/hidden_matrices.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct FoamOptions {
  std::int64_t level = 2;
  double scale = 0.25;
  double residual = 1.0;
  std::string second_moment = "squares";
  GaloreAdam adam{0.9, 0.999, 1e-8};
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.integer({"level", "blocks have 2^level elements"}, level, {0, 20});
    v.real({"scale", "of a step"}, scale, {0.0, 1e3});
    v.real({"residual", "factor of what the means leave out"}, residual, {0.0, 1e3});
    v.choice({"second_moment", "squares: means of squared gradients; folded: squares of means"},
             second_moment, {"squares", "folded"});
    adam.visit(v);
    fallback.visit(v, {"fallback", "the rule of all that FOAM does not take"});
  }
};

class Foam : public UpdateRule {
 public:
  using Options = FoamOptions;
  explicit Foam(const Options& options)
      : options_(options), block_(std::int64_t{1} << options.level) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const std::vector<std::int64_t> shape{parameter.rows(), folded_columns(parameter)};
    return {{"exp_avg", shape}, {"exp_avg_sq", shape, StateUse::non_negative}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = p.state.load(0), v = p.state.load(1);
    const auto means = folded(g, p.parameter);
    const auto& adam = options_.adam;
    m.mul_(adam.beta1).add_(means, 1.0 - adam.beta1);
    v.mul_(adam.beta2)
        .add_(
            options_.second_moment == "squares" ? folded(g.square(), p.parameter) : means.square(),
            1.0 - adam.beta2);
    const auto rest = (g - unfolded(means, p.parameter)) * options_.residual;
    const auto first = unfolded(m, p.parameter) + rest;
    const auto second = unfolded(v, p.parameter) + rest.square();
    return adam.step(p, scope, adam.direction(first, second), options_.scale);
  }

 private:
  std::int64_t folded_columns(const Parameter& parameter) const {
    return (parameter.columns() + block_ - 1) / block_;
  }
  at::Tensor folded(const at::Tensor& x, const Parameter& parameter) const {
    const auto columns = folded_columns(parameter);
    return at::constant_pad_nd(x, {0, columns * block_ - parameter.columns()})
        .view({parameter.rows(), columns, block_})
        .mean(2);
  }
  at::Tensor unfolded(const at::Tensor& x, const Parameter& parameter) const {
    return x.repeat_interleave(block_, 1).narrow(1, 0, parameter.columns());
  }

  Options options_;
  std::int64_t block_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_foam() {
  return rule_spec<Foam>({"foam", "Adam on means of blocks of a row, for matrices"});
}

}  // namespace blockwise
