// RMNP (arXiv 2603.20527), in the form of the authors' code for LLaMA: Muon with the cheapest of
// preconditioners, rows of norm 1.
//   m <- momentum m + (1 - momentum) g';  u = (1 - momentum) g' + momentum m
//   w <- (1 - lr wd) w - lr sqrt(max(1, rows / columns)) u_i / max(||u_i||, 1e-12) for every row i
// Rows are those of [out, in], however tall the matrix is. No eps beside the floor. Deviations: the
// authors' GPT-2 code keeps a sum instead of an average, the same direction but for the weight of
// history; the products' bfloat16 is not needed. State: momentum_buffer, 4 bytes per parameter.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct RmnpOptions {
  double momentum = 0.95;
  bool nesterov = true;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the average of gradients"}, momentum, {0.0, 1.0, false, true});
    v.boolean({"nesterov", "look-ahead form"}, nesterov);
    fallback.visit(v, {"fallback", "the rule of all that RMNP does not take"});
  }
};

class Rmnp : public UpdateRule {
 public:
  using Options = RmnpOptions;
  explicit Rmnp(const Options& options)
      : momentum_(options.momentum), nesterov_(options.nesterov) {}

  RuleTraits traits(const TensorPartition&) const override { return {.stacks = true}; }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"momentum_buffer", parameter.shape}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0));
    m.lerp_(g, 1.0 - momentum_);
    const auto u = nesterov_ ? g.lerp(m, momentum_) : m;
    const double scale =
        std::sqrt(std::max(1.0, double(p.parameter.rows()) / p.parameter.columns()));
    return take_step(
        as_matrix(p, p.weight), u / row_norms(u).clamp_min_(1e-12),
        {scope.learning_rate * scale, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  double momentum_;
  bool nesterov_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_rmnp() {
  return rule_spec<Rmnp>({"rmnp", "momentum with every row of norm 1, for matrices"});
}

}  // namespace blockwise
