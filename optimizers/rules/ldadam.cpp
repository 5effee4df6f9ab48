// LDAdam (Robert et al., arXiv 2410.16103, Algorithm 1), in the form of the authors' repository:
// Adam in a subspace that turns a little at every step, with moments that turn along and what the
// subspace leaves out fed back. Sides as in gradient_basis.hpp, written for P on the left.
//   a = g' + e;  P from the singular vectors of a where there is none, afterwards from
//   b = rho P' m / (1 - beta1^(t-1)) + (1 - rho) a, P = qr(b b^T P'), P' the last one
//   R = P^T a;  C = P^T P';  m' = C m;  with hats for corrections by step t - 1:
//   v' = (1 - beta2^(t-1)) |C.C (v^ - m^.m^) + m'^.m'^|
//   m <- beta1 m' + (1 - beta1) R;  v <- beta2 v' + (1 - beta2) R^2
//   e <- a - P R + beta1 / (1 - beta1) (P' m_old - P m')
//   w <- (1 - lr wd) w - lr P (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
// Deviations: e is state of its own, which clipping and checkpoints leave alone; the repository
// keeps it in the gradient's buffer, the same bytes. rank is at most the smaller side, not an
// error. State: 4 (2 rank max + rank min) bytes a matrix, and 4 a parameter for e.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct LdAdamOptions {
  std::int64_t rank = 16;
  double rho = 0.908;
  double beta1 = 0.908;
  double beta2 = 0.99;
  double eps = 1e-8;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.integer({"rank", "of the subspace; at most the smaller side counts"}, rank, {1, 1 << 20});
    v.real({"rho", "weight of the momentum in what the next subspace is taken from"}, rho,
           {0.0, 1.0, false, true});
    v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"eps", "added to the root of the second moment, after its bias correction"}, eps,
           {0.0, 1.0, true, false});
    fallback.visit(v, {"fallback", "the rule of all that LDAdam does not take"});
  }
};

class LdAdam : public UpdateRule {
 public:
  using Options = LdAdamOptions;
  explicit LdAdam(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const LowRank low(parameter, options_.rank);
    return {{"projector", low.basis_shape(), StateUse::basis},
            {"exp_avg", low.projected_shape()},
            {"exp_avg_sq", low.projected_shape(), StateUse::non_negative},
            {"error", parameter.shape, StateUse::accumulator}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const double t = double(scope.step), b1 = options_.beta1, b2 = options_.beta2;
    const LowRank low(p.parameter, options_.rank);
    const auto m = p.state.load(1), v = p.state.load(2), e = as_matrix(p, p.state.load(3));
    const auto a = scaled_gradient(p, scope).add_(e);
    const auto last = p.state.load(0).clone();
    const auto basis = is_unset(last) ? gradient_basis(a, low) : turned_basis(a, m, last, low, t);
    p.state.store(0, basis);
    const auto r = low.project(a, basis);
    const auto turn = low.right ? last.mm(basis.t()) : basis.t().mm(last);
    const auto turned = low.right ? m.mm(turn) : turn.mm(m);
    e.copy_(a - low.lift(r, basis))
        .add_(low.lift(m, last) - low.lift(turned, basis), b1 / (1.0 - b1));
    if (scope.step > 1) turn_moments({m, v}, turned, turn, low, t);
    m.mul_(b1).add_(r, 1.0 - b1);
    v.mul_(b2).addcmul_(r, r, 1.0 - b2);
    const auto root = (v / (1.0 - std::pow(b2, t))).sqrt_().add_(options_.eps);
    return take_step(as_matrix(p, p.weight), low.lift(m / root, basis),
                     {scope.learning_rate / (1.0 - std::pow(b1, t)),
                      scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  // One step of a power iteration from the last subspace.
  at::Tensor turned_basis(const at::Tensor& a, const at::Tensor& m, const at::Tensor& last,
                          const LowRank& low, double t) const {
    const double keep = options_.rho / (1.0 - std::pow(options_.beta1, t - 1.0));
    const auto b = (low.lift(m, last) * keep).add_(a, 1.0 - options_.rho);
    if (low.right) return std::get<0>(at::linalg_qr(b.t().mm(b.mm(last.t())))).t().contiguous();
    return std::get<0>(at::linalg_qr(b.mm(b.t().mm(last))));
  }

  struct Moments {
    at::Tensor m, v;
  };

  void turn_moments(const Moments& moments, const at::Tensor& turned, const at::Tensor& turn,
                    const LowRank& low, double t) const {
    const auto& [m, v] = moments;
    const double c1 = 1.0 - std::pow(options_.beta1, t - 1.0);
    const double c2 = 1.0 - std::pow(options_.beta2, t - 1.0);
    const auto squares = turn.square();
    const auto variance = v / c2 - m.square() / (c1 * c1);
    const auto moved = low.right ? variance.mm(squares) : squares.mm(variance);
    v.copy_((moved + turned.square() / (c1 * c1)).mul_(c2).abs_());
    m.copy_(turned);
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_ldadam() {
  return rule_spec<LdAdam>(
      {"ldadam", "Adam in a turning subspace with its errors fed back, for matrices"});
}

}  // namespace blockwise
