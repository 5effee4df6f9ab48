// GaLore (Zhao et al., arXiv 2403.03507, Algorithm 2): any rule on gradients that are projected to
// `rank` dimensions of the smaller side, onto the singular vectors of a gradient of every
// `update_every`-th step. For rows >= columns P = V[:rank]^T [rank, columns], otherwise
// P = U[:, :rank] [rows, rank]:
//   R = g' P^T  or  P^T g';   d = the inner rule's change of a matrix like R, without decay
//   w <- (1 - lr wd) (w + scale (d P  or  P d))
// The inner rule's state stays as it is when P changes, as in the paper. Where gradients are
// released and that of a step which changes P is not finite, P stays as it is until the next such
// step; the first P is then made of the first gradient that is finite. Deviations from the
// published package: eps where the inner rule has it, and every singular vector's largest component
// is positive, which makes a step of a machine that of another. An inner rule that follows a
// partition has one value per row of R. State: projector, 4 rank min(rows, columns) bytes, and the
// inner rule's for R, [rows, rank] or [rank, columns].
#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct GaloreOptions {
  std::int64_t rank = 128;
  std::int64_t update_every = 200;
  double scale = 0.25;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.integer({"rank", "of projected gradients; at most the smaller side counts"}, rank,
              {1, 1 << 20});
    v.integer({"update_every", "steps between singular value decompositions"}, update_every,
              {1, std::int64_t{1} << 40});
    v.real({"scale", "of a step, in the place of a full one"}, scale, {0.0, 1e3});
    fallback.visit(v,
                   {"inner", "the rule of projected gradients, and of all that is not projected"});
  }
};

// The matrix that the inner rule sees.
struct Projected {
  Parameter parameter;
  TensorPartition partition;
};

class Galore : public UpdateRule {
 public:
  using Options = GaloreOptions;
  explicit Galore(const Options& options)
      : options_(options), inner_(options.fallback.spec->build()) {
    require_input(inner_->traits({}).curvature_every == 0,
                  "optimizer.inner.rule '{}' takes estimates of the curvature, which are not "
                  "projected",
                  options.fallback.rule);
  }

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const LowRank side(parameter, options_.rank);
    std::vector<StateSpec> specs{{"projector", side.basis_shape(), StateUse::basis}};
    const auto low = projected(parameter);
    for (auto& spec : inner_->state(low.parameter, low.partition)) specs.push_back(std::move(spec));
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const LowRank side(p.parameter, options_.rank);
    const auto& basis = p.state.load(0);
    if ((scope.step - 1) % options_.update_every == 0 || is_unset(basis)) {
      p.state.store(0, gradient_basis(g, side));
    }
    const auto change = inner_change(side.project(g, basis), projected(p.parameter), p, scope);
    // Minus the inner rule's change: it is a step downhill already.
    return step_then_decay(
        as_matrix(p, p.weight), side.lift(change, basis),
        {-options_.scale, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  Projected projected(const Parameter& parameter) const {
    Projected low;
    low.parameter.name = parameter.name;
    low.parameter.role = parameter.role;
    low.parameter.offset = parameter.offset;
    low.parameter.shape = LowRank(parameter, options_.rank).projected_shape();
    PartitionSection section;
    section.rows = low.parameter.rows();
    section.columns = low.parameter.columns();
    section.structure = Structure::tiles(1, section.columns);
    low.partition.sections.push_back(std::move(section));
    return low;
  }

  // What the inner rule makes of zero weights.
  at::Tensor inner_change(const at::Tensor& gradient, const Projected& low, const ParameterStep& p,
                          const StepScope& scope) const {
    std::vector<at::Tensor> state;
    for (std::size_t k = 1; k < p.state.size(); ++k) state.push_back(p.state.load(k));
    const ParameterStep step{low.parameter, low.partition,           at::zeros_like(gradient),
                             gradient,      State(std::move(state)), 0.0,
                             nullptr,       p.first_element};
    auto inner = scope;
    inner.gradient_scale = 1.0;
    if (const auto* fused = inner_->fused(KernelKey::of(step))) {
      fused->apply(step, inner);
    } else {
      inner_->update(step, inner);
    }
    return step.weight;
  }

  Options options_;
  std::unique_ptr<UpdateRule> inner_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_galore() {
  return rule_spec<Galore>(
      {"galore", "any rule on gradients projected to a low rank, for matrices"});
}

}  // namespace blockwise
