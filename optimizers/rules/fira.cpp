// Fira (Chen et al., arXiv 2410.01623, Algorithm 1), in the form of the package fira: GaLore, with
// what the projection leaves out added back, scaled as Adam scales what it keeps.
//   P and R as in galore.cpp, P anew every update_every steps, gradients that are not finite too;
//   m, v, d as in galore_adam.hpp f = ||d|| / (||R|| + 1e-8), one per row or column of the larger
//   side S = f (g' - scale lift(R)), its growth bounded w <- (1 - lr wd) (w - lr sqrt(1 - beta2^t)
//   / (1 - beta1^t) (scale lift(d) + S))
// As in the package, `scale` also multiplies what is taken off the gradient. Deviation: the sign of
// singular vectors, see gradient_basis.hpp. State: projector, 4 rank min(rows, columns) bytes, two
// moments, 8 rank max(rows, columns), and 4.
#include <ATen/ATen.h>

#include "optimizers/galore_adam.hpp"
#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct FiraOptions {
  std::int64_t rank = 128;
  std::int64_t update_every = 200;
  double scale = 0.25;
  GaloreAdam adam;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.integer({"rank", "of projected gradients; at most the smaller side counts"}, rank,
              {1, 1 << 20});
    v.integer({"update_every", "steps between singular value decompositions"}, update_every,
              {1, std::int64_t{1} << 40});
    v.real({"scale", "of what is lifted back"}, scale, {0.0, 1e3});
    adam.visit(v);
    fallback.visit(v, {"fallback", "the rule of all that Fira does not take"});
  }
};

class Fira : public UpdateRule {
 public:
  using Options = FiraOptions;
  explicit Fira(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const LowRank low(parameter, options_.rank);
    return {{"projector", low.basis_shape(), StateUse::basis},
            {"exp_avg", low.projected_shape()},
            {"exp_avg_sq", low.projected_shape(), StateUse::non_negative},
            {"step_norm", {}, StateUse::non_negative}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const LowRank low(p.parameter, options_.rank);
    const auto& basis = p.state.load(0);
    if ((scope.step - 1) % options_.update_every == 0 || is_unset(basis)) {
      p.state.store(0, gradient_basis(g, low));
    }
    const auto r = low.project(g, basis);
    options_.adam.average(p.state.load(1), p.state.load(2), r);
    const auto d = options_.adam.direction(p.state.load(1), p.state.load(2));
    const auto factor = low.channel_norms(d) / (low.channel_norms(r) + 1e-8);
    auto rest = (g - low.lift(r, basis) * options_.scale) * factor;
    rest = rest / growth_divisor(fixed_norm(rest), p.state.load(3));
    return options_.adam.step(p, scope, low.lift(d, basis) * options_.scale + rest, 1.0);
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_fira() {
  return rule_spec<Fira>({"fira", "GaLore with what it leaves out added back, for matrices"});
}

}  // namespace blockwise
