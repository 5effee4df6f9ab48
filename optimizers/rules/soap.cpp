// SOAP (Vyas et al., arXiv 2409.11321, Algorithm 3), in the form of the authors' repository: Adam
// in the eigenbases of Shampoo's factors.
//   the first step changes no weight, by decay neither: L = (1 - b) g' g'^T, R = (1 - b) g'^T g', b
//   = shampoo_beta, and Q_L, Q_R are their eigenvectors, by falling eigenvalue; afterwards, s = t -
//   1: q = Q_L^T g' Q_R;  m <- beta1 m + (1 - beta1) q;  v <- beta2 v + (1 - beta2) q^2 w <- (1 -
//   lr wd) (w - lr sqrt(1 - beta2^s) / (1 - beta1^s) Q_L (m / (sqrt(v) + eps)) Q_R^T) L <- b L + (1
//   - b) g' g'^T, R alike; every precondition_every steps the columns of Q are sorted by diag(Q^T L
//   Q), v with them, Q <- qr(L Q), and m turns from the old bases to the new
// Where the first gradient is not finite and gradients are released, the first that is makes the
// bases; a refreshment that is missed so waits for the next. A side above max_side is left as it
// is. eps before the correction, decay after the step. Deviations: m is turned only where the bases
// change, not back and forth at every step. State: 8 bytes per parameter, and 8 (rows^2 +
// columns^2) a matrix.
#include <ATen/ATen.h>

#include "optimizers/galore_adam.hpp"
#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct SoapOptions {
  GaloreAdam adam{0.95, 0.95, 1e-8};
  double shampoo_beta = 0.95;
  std::int64_t precondition_every = 10;
  std::int64_t max_side = 10000;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    adam.visit(v);
    v.real({"shampoo_beta", "decay of the factors"}, shampoo_beta, {0.0, 1.0, false, true});
    v.integer({"precondition_every", "steps between refreshments of the eigenbases"},
              precondition_every, {1, std::int64_t{1} << 40});
    v.integer({"max_side", "sides above it are not preconditioned"}, max_side, {1, 1 << 20});
    fallback.visit(v, {"fallback", "the rule of all that SOAP does not take"});
  }
};

// One side of a matrix: its factor and eigenbasis, undefined where the side is too long.
struct Side {
  at::Tensor factor, basis;
  bool on() const { return factor.defined(); }
};

bool is_unset(const Side& side) { return side.on() && blockwise::is_unset(side.basis); }

at::Tensor rotated(const at::Tensor& x, const Side& left, const Side& right) {
  const auto half = left.on() ? left.basis.mT().matmul(x) : x;
  return right.on() ? half.matmul(right.basis) : half;
}

at::Tensor rotated_back(const at::Tensor& x, const Side& left, const Side& right) {
  const auto half = left.on() ? left.basis.matmul(x) : x;
  return right.on() ? half.matmul(right.basis.mT()) : half;
}

class Soap : public UpdateRule {
 public:
  using Options = SoapOptions;
  explicit Soap(const Options& options) : options_(options) {}

  RuleTraits traits(const TensorPartition&) const override { return {.stacks = true}; }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const std::vector<std::int64_t> shape{parameter.rows(), parameter.columns()};
    std::vector<StateSpec> specs{{"exp_avg", shape}, {"exp_avg_sq", shape, StateUse::non_negative}};
    const auto add = [&](const std::string& side, std::int64_t n) {
      if (n > options_.max_side) return;
      specs.push_back({"factor_" + side, {n, n}, StateUse::accumulator});
      specs.push_back({"basis_" + side, {n, n}, StateUse::basis});
    };
    add("left", parameter.rows());
    add("right", parameter.columns());
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    std::size_t next = 2;
    const auto left = side(p, p.parameter.rows(), next),
               right = side(p, p.parameter.columns(), next);
    if (scope.step == 1 || is_unset(left) || is_unset(right)) {
      average_factors(g, left, right);
      for (const auto& each : {left, right}) begin(each);
      return at::zeros(g.sizes().slice(0, g.dim() - 2), g.options().dtype(at::kDouble));
    }
    const auto m = p.state.load(0), v = p.state.load(1);
    options_.adam.average(m, v, rotated(g, left, right));
    // The first step is not counted.
    auto counted = scope;
    --counted.step;
    const auto moved = options_.adam.step(
        p, counted, rotated_back(options_.adam.direction(m, v), left, right), 1.0);
    average_factors(g, left, right);
    if (counted.step % options_.precondition_every == 0) refresh(m, v, left, right);
    return moved;
  }

 private:
  Side side(const ParameterStep& p, std::int64_t length, std::size_t& next) const {
    if (length > options_.max_side) return {};
    next += 2;
    return {p.state.load(next - 2), p.state.load(next - 1)};
  }

  void average_factors(const at::Tensor& g, const Side& left, const Side& right) const {
    if (left.on()) left.factor.lerp_(g.matmul(g.mT()), 1.0 - options_.shampoo_beta);
    if (right.on()) right.factor.lerp_(g.mT().matmul(g), 1.0 - options_.shampoo_beta);
  }

  static void begin(const Side& side) {
    if (!side.on()) return;
    const auto shift = at::eye(side.factor.size(-1), side.factor.options()) * 1e-30;
    side.basis.copy_(std::get<1>(at::linalg_eigh(side.factor + shift)).flip({-1}));
  }

  void refresh(const at::Tensor& m, const at::Tensor& v, const Side& left,
               const Side& right) const {
    m.copy_(rotated_back(m, left, right));
    if (left.on()) sort_and_turn(left, v, -2);
    if (right.on()) sort_and_turn(right, v, -1);
    m.copy_(rotated(m, left, right));
  }

  // axis: that of v which belongs to the side.
  static void sort_and_turn(const Side& side, const at::Tensor& v, std::int64_t axis) {
    const auto turned = side.basis.mT().matmul(side.factor.matmul(side.basis));
    const auto order = turned.diagonal(0, -2, -1).argsort(-1, true);
    v.copy_(v.gather(axis, order.unsqueeze(-3 - axis).expand_as(v)));
    const auto sorted = side.basis.gather(-1, order.unsqueeze(-2).expand_as(side.basis));
    side.basis.copy_(std::get<0>(at::linalg_qr(side.factor.matmul(sorted))));
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_soap() {
  return rule_spec<Soap>({"soap", "Adam in the eigenbases of Shampoo's factors, for matrices"});
}

}  // namespace blockwise
