// Dion (Ahn et al., arXiv 2504.05295, Algorithm 1), in the form of the authors'
// repository on one device: Muon's orthogonal momentum at a fraction of the rank, with what the
// rank leaves out fed back into the momentum. Written for rows >= columns; otherwise for the
// transpose of B.
//   B = M + g';  P = qr(B Q) [rows, r];  R = B^T P [columns, r];  M <- B - (1 - momentum) P R^T
//   Q <- R / (||R_j|| + eps), each column j;  w <- (1 - lr wd) w - lr sqrt(rows / columns) P Q^T
// r = rank_fraction of the smaller side, rounded up; Q is N(0, 1) at first. B = 0 moves nothing and
// leaves Q. Decay is by the rate itself, not the scaled one. Deviations: Householder's qr, where
// the repository's default is a randomized Cholesky one, of the same span; Q comes from the stream
// of the run's seed. Where the first gradient is not finite and gradients are released, Q is drawn
// at the first that is. State: 4 bytes per parameter, and 4 r min(rows, columns) a matrix.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/random_draws.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct DionOptions {
  double rank_fraction = 1.0;
  double momentum = 0.95;
  double eps = 1e-8;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.real({"rank_fraction", "rank of a step as a share of the smaller side, rounded up"},
           rank_fraction, {0.0, 1.0, true, false});
    v.real({"momentum", "share of what a step takes that stays in the momentum"}, momentum,
           {0.0, 1.0, false, true});
    v.real({"eps", "added to the norms of the right factor's columns"}, eps,
           {0.0, 1.0, true, false});
    fallback.visit(v, {"fallback", "the rule of all that Dion does not take"});
  }
};

class Dion : public UpdateRule {
 public:
  using Options = DionOptions;
  explicit Dion(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    // Of the momentum no small part may be lost: what a step leaves out waits there.
    return {{"momentum_buffer", parameter.shape, StateUse::accumulator},
            {"right_factor", factor_shape(parameter), StateUse::accumulator}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const bool wide = p.parameter.rows() < p.parameter.columns();
    const auto momentum = as_matrix(p, p.state.load(0)).add_(scaled_gradient(p, scope));
    const auto b = wide ? momentum.t() : momentum;
    const auto old = right_factor(p, scope);
    // Without any momentum there is no direction.
    const auto some = b.any();
    const auto left = std::get<0>(at::linalg_qr(b.mm(old))) * some;
    const auto right = b.t().mm(left);
    b.sub_(left.mm(right.t()), 1.0 - options_.momentum);
    const auto unit = at::where(some, right / (column_norms(right) + options_.eps), old);
    p.state.load(1).copy_(unit);
    const auto direction = wide ? unit.mm(left.t()) : left.mm(unit.t());
    const double sides = double(p.parameter.rows()) / double(p.parameter.columns());
    return take_step(as_matrix(p, p.weight), direction,
                     {scope.learning_rate * std::sqrt(sides), scope.learning_rate * p.weight_decay,
                      element_rates(p)});
  }

 private:
  std::vector<std::int64_t> factor_shape(const Parameter& parameter) const {
    const auto smaller = std::min(parameter.rows(), parameter.columns());
    const auto rank = std::ceil(options_.rank_fraction * double(smaller));
    return {smaller, std::clamp(static_cast<std::int64_t>(rank), std::int64_t{1}, smaller)};
  }

  // Of the last step, or drawn where there was none.
  at::Tensor right_factor(const ParameterStep& p, const StepScope& scope) const {
    const auto& kept = p.state.load(1);
    if (!is_unset(kept)) return kept;
    return drawn_normal(p, scope, factor_shape(p.parameter), 0).to(kept.scalar_type());
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_dion() {
  return rule_spec<Dion>(
      {"dion", "orthogonal momentum of a low rank with its errors fed back, for matrices"});
}

}  // namespace blockwise
