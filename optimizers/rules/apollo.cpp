// APOLLO and APOLLO-Mini (Zhu et al., arXiv 2412.05270, Algorithm 1), in the form of the package
// apollo-torch: gradients scaled by what Adam would do to a random sketch of them.
//   every update_every steps P is drawn anew, N(0, 1 / rank), on the smaller side
//   R = g' P^T or P^T g';  m, v, d = m / (sqrt(v) + eps) of R, as in galore_adam.hpp
//   s = ||d|| / (||R|| + 1e-8), norms over the rank: one per row or column of the larger side, or
//   one for the tensor;  G = s g', its growth bounded as Fira does, times sqrt(scale)
//   w <- (1 - lr wd) (w - lr sqrt(1 - beta2^t) / (1 - beta1^t) G)
// With scale_front the factor comes before the bound. APOLLO-Mini is rank 1, one s, scale 128.
// Deviations: P is drawn again from its seed at every step instead of kept, from the stream of the
// run's seed; rank is at most the smaller side. State: 8 rank max(rows, columns) + 4 bytes a
// matrix.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/galore_adam.hpp"
#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/random_draws.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct ApolloOptions {
  std::int64_t rank = 256;
  std::int64_t update_every = 200;
  double scale = 1.0;
  std::string scale_type = "channel";
  bool scale_front = false;
  GaloreAdam adam;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.integer({"rank", "of the sketch; at most the smaller side counts"}, rank, {1, 1 << 20});
    v.integer({"update_every", "steps between draws of the projection"}, update_every,
              {1, std::int64_t{1} << 40});
    v.real({"scale", "its root multiplies a step"}, scale, {0.0, 1e6});
    v.choice({"scale_type", "channel: a factor per row or column; tensor: one"}, scale_type,
             {"channel", "tensor"});
    v.boolean({"scale_front", "scale before the bound on growth, for short warm-ups"}, scale_front);
    adam.visit(v);
    fallback.visit(v, {"fallback", "the rule of all that APOLLO does not take"});
  }
};

struct ApolloMiniOptions : ApolloOptions {
  ApolloMiniOptions() {
    rank = 1;
    scale = 128.0;
    scale_type = "tensor";
  }
};

class Apollo : public UpdateRule {
 public:
  using Options = ApolloOptions;
  explicit Apollo(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const auto shape = LowRank(parameter, options_.rank).projected_shape();
    return {{"exp_avg", shape},
            {"exp_avg_sq", shape, StateUse::non_negative},
            {"step_norm", {}, StateUse::non_negative}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const LowRank low(p.parameter, options_.rank);
    const auto basis =
        drawn_normal(p, scope, low.basis_shape(), (scope.step - 1) / options_.update_every)
            .to(g.scalar_type())
            .div_(std::sqrt(double(low.rank)));
    const auto r = low.project(g, basis);
    options_.adam.average(p.state.load(0), p.state.load(1), r);
    const auto d = options_.adam.direction(p.state.load(0), p.state.load(1));
    const bool by_channel = options_.scale_type == "channel";
    auto step = by_channel ? g * (low.channel_norms(d) / (low.channel_norms(r) + 1e-8))
                           : g * (fixed_norm(d) / (fixed_norm(r) + 1e-8));
    const double root = std::sqrt(options_.scale);
    if (options_.scale_front) step = step * root;
    step = step / growth_divisor(fixed_norm(step), p.state.load(2));
    return options_.adam.step(p, scope, step, options_.scale_front ? 1.0 : root);
  }

 private:
  Options options_;
};

class ApolloMini : public Apollo {
 public:
  using Options = ApolloMiniOptions;
  using Apollo::Apollo;
};

}  // namespace

std::unique_ptr<RuleSpec> make_apollo() {
  return rule_spec<Apollo>(
      {"apollo", "gradients scaled by what Adam does to a random sketch of them, for matrices"});
}

std::unique_ptr<RuleSpec> make_apollo_mini() {
  return rule_spec<ApolloMini>(
      {"apollo_mini", "APOLLO with a sketch of rank 1 and one factor per matrix"});
}

}  // namespace blockwise
