// SCALE (Glentis et al., arXiv 2506.16659, Algorithm 1), in the form of the authors' repository:
// gradients with every output normalized, and momentum in the head alone.
//   m <- momentum m + (1 - momentum) g' for the roles in `averaged`, u = m; otherwise u = g'
//   w <- (1 - lr wd) w - lr u / max(rms, 1e-8), rms = sqrt(mean_j u_ij^2) of each row i, and of
//   each column for the roles in `by_column`
// Vectors have a rule of their own. Deviations: none from the code; the paper divides by norms, not
// by root mean squares, a factor sqrt(columns) of the rate, and calls rows columns. With tied
// embeddings there is no head: name token_embedding in `averaged` where its momentum is wanted.
// State: 4 bytes a parameter of the roles in `averaged`, otherwise none.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct ScaleOptions {
  double momentum = 0.9;
  std::vector<std::string> averaged = {"lm_head"};
  std::vector<std::string> by_column = {"token_embedding"};
  FallbackRule fallback;  // of vectors

  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the average of gradients"}, momentum, {0.0, 1.0, false, true});
    v.choice_list({"averaged", "roles whose gradients are averaged"}, averaged, role_names());
    v.choice_list({"by_column", "roles whose columns are normalized instead of rows"}, by_column,
                  role_names());
    fallback.visit(v, {"fallback", "the rule of vectors"});
  }
};

class Scale : public UpdateRule {
 public:
  using Options = ScaleOptions;
  explicit Scale(const Options& options) : options_(options) {}

  RuleTraits traits(const TensorPartition&) const override { return {.stacks = true}; }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    if (!names(options_.averaged, parameter)) return {};
    return {{"momentum_buffer", parameter.shape}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    auto u = scaled_gradient(p, scope);
    if (names(options_.averaged, p.parameter)) {
      const auto m = as_matrix(p, p.state.load(0));
      u = m.lerp_(u, 1.0 - options_.momentum);
    }
    const auto squares = u.square();
    const bool by_column = names(options_.by_column, p.parameter);
    const auto mean = by_column ? column_means(squares) : row_means(squares);
    return take_step(as_matrix(p, p.weight), u / mean.sqrt_().clamp_min_(1e-8),
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  static bool names(const std::vector<std::string>& roles, const Parameter& parameter) {
    return std::ranges::count(roles, role_name(parameter.role)) > 0;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_scale() {
  return rule_spec<Scale>({"scale", "gradients with every row normalized, momentum in the head"});
}

}  // namespace blockwise
