// Shampoo (Gupta et al., arXiv 1802.09568, Algorithm 1): AdaGrad with a full factor for either side
// of a matrix.
//   L_0 = eps I, R_0 = eps I;  L <- L + g' g'^T, R <- R + g'^T g'  (averages by beta2 below 1)
//   w <- (1 - lr wd) w - lr L^(-1/4) g' R^(-1/4)
// A side above max_side is left as it is, and the other has the exponent -1/2. Roots are taken anew
// every update_every steps. No grafting and no momentum, as in the paper's algorithm; eps is what
// the factors start from. Deviation: decoupled decay. State: 4 (rows^2 + columns^2) bytes a matrix,
// twice that with update_every above 1, which keeps the roots.
#include <ATen/ATen.h>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct ShampooOptions {
  double beta2 = 1.0;
  double eps = 1e-6;
  std::int64_t update_every = 1;
  std::int64_t max_side = 10000;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.real({"beta2", "decay of the factors; 1: they are sums"}, beta2, {0.0, 1.0, true, false});
    v.real({"eps", "diagonal that the factors start from"}, eps, {0.0, 1.0, true, false});
    v.integer({"update_every", "steps between the factors' roots"}, update_every,
              {1, std::int64_t{1} << 40});
    v.integer({"max_side", "sides above it are not preconditioned"}, max_side, {1, 1 << 20});
    fallback.visit(v, {"fallback", "the rule of all that Shampoo does not take"});
  }
};

// x^exponent of symmetric matrices with eigenvalues of at least `floor`.
at::Tensor matrix_power(const at::Tensor& x, double exponent, double floor) {
  const auto [values, vectors] = at::linalg_eigh(x);
  return (vectors * values.clamp_min(floor).pow(exponent).unsqueeze(-2)).matmul(vectors.mT());
}

class Shampoo : public UpdateRule {
 public:
  using Options = ShampooOptions;
  explicit Shampoo(const Options& options) : options_(options) {}

  RuleTraits traits(const TensorPartition&) const override { return {.stacks = true}; }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs;
    const auto add = [&](const std::string& side, std::int64_t n) {
      if (n > options_.max_side) return;
      specs.push_back({"factor_" + side, {n, n}, StateUse::accumulator});
      if (options_.update_every > 1)
        specs.push_back({"root_" + side, {n, n}, StateUse::accumulator});
    };
    add("left", parameter.rows());
    add("right", parameter.columns());
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const bool left = p.parameter.rows() <= options_.max_side;
    const bool right = p.parameter.columns() <= options_.max_side;
    const double exponent = left && right ? -0.25 : -0.5;
    std::size_t next = 0;
    auto direction = g;
    if (left) direction = root(p, scope, g.matmul(g.mT()), exponent, next).matmul(direction);
    if (right) direction = direction.matmul(root(p, scope, g.mT().matmul(g), exponent, next));
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  // Of the factor at `next` with this product added. State starts at 0, the factor at eps I.
  at::Tensor root(const ParameterStep& p, const StepScope& scope, const at::Tensor& product,
                  double exponent, std::size_t& next) const {
    const auto& factor = p.state.load(next++);
    // At the first step that its gradient lets happen.
    const auto diagonal = factor.diagonal(0, -2, -1);
    const auto is_new = diagonal.any(-1, true).logical_not();
    diagonal.add_(is_new.to(factor.scalar_type()), options_.eps);
    factor.mul_(options_.beta2).add_(product, options_.beta2 == 1.0 ? 1.0 : 1.0 - options_.beta2);
    if (options_.update_every == 1) return matrix_power(factor, exponent, options_.eps * 1e-3);
    const auto& kept = p.state.load(next++);
    if ((scope.step - 1) % options_.update_every == 0 || is_unset(kept)) {
      kept.copy_(matrix_power(factor, exponent, options_.eps * 1e-3));
    }
    return kept;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_shampoo() {
  return rule_spec<Shampoo>(
      {"shampoo", "a full preconditioner for either side of a matrix; another rule for the rest"});
}

}  // namespace blockwise
