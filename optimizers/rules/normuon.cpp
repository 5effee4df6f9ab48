// NorMuon (Li et al., arXiv 2510.05491, Algorithm 1), in the form of the authors' repository: Muon
// whose rows are brought to one size by an average of their squares.
//   o = orthogonalized momentum, as in muon.cpp
//   v_i <- beta2 v_i + (1 - beta2) mean_j o_ij^2;  d_ij = o_ij / (sqrt(v_i) + eps)
//   d <- d ||o|| / (||d|| + eps);  w <- (1 - lr wd) w - lr s d
// eps 1e-10, s as in muon.cpp; no bias correction. Deviation: rate_scale is Muon's default here,
// match_rms_adamw; the repository's is "original". State: momentum_buffer, 4 bytes per parameter,
// and 4 a row.
#include <ATen/ATen.h>

#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/matrices/orthogonal_momentum.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

constexpr double kEps = 1e-10;

struct NorMuonOptions {
  OrthogonalMomentum average;
  double beta2 = 0.95;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    average.visit(v);
    v.real({"beta2", "decay of the rows' mean squares"}, beta2, {0.0, 1.0, false, true});
    fallback.visit(v, {"fallback", "the rule of all that NorMuon does not take"});
  }
};

class NorMuon : public UpdateRule {
 public:
  using Options = NorMuonOptions;
  explicit NorMuon(const Options& options) : average_(options.average), beta2_(options.beta2) {}

  RuleTraits traits(const TensorPartition&) const override { return {.stacks = true}; }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"momentum_buffer", parameter.shape},
            {"second_momentum_buffer", {parameter.rows()}, StateUse::non_negative}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto o = average_.direction(scaled_gradient(p, scope), as_matrix(p, p.state.load(0)));
    const auto v = p.state.load(1).unsqueeze(-1);
    v.lerp_(row_means(o.square()), 1.0 - beta2_);
    const auto d = o / v.sqrt().add_(kEps);
    const auto share = (matrix_norms(o) / (matrix_norms(d) + kEps)).to(d.scalar_type());
    return take_step(as_matrix(p, p.weight), d * share,
                     {scope.learning_rate * average_.scale(p.parameter),
                      scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  OrthogonalMomentum average_;
  double beta2_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_normuon() {
  return rule_spec<NorMuon>({"normuon", "Muon with rows of one size, for matrices"});
}

}  // namespace blockwise
