// LOMO (Lv et al., arXiv 2306.09782, Algorithm 1): SGD that keeps nothing between steps, to be run
// inside the backward pass with trainer.gradients: released, so that no more than one tensor's
// gradient exists at a time.
//   w <- (1 - lr wd) w - lr g'
// State: none. Without clipping, or with kept gradients, it is plain SGD; clipping by the global
// norm of released gradients takes a second backward pass, as in the paper (Sec. 3.3).
#include <ATen/ATen.h>

#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct LomoOptions {
  void visit(FieldVisitor&) {}
};

class Lomo : public UpdateRule, public FusedStep {
 public:
  using Options = LomoOptions;
  explicit Lomo(const Options&) {}

  std::vector<StateSpec> state(const Parameter&, const TensorPartition&) const override {
    return {};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step =
        kernels::SgdStep::of(scope.learning_rate, p.weight_decay, scope.gradient_scale);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t) {
      return kernels::gradient_descent(rows, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    return take_step(as_matrix(p, p.weight), scaled_gradient(p, scope),
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }
};

}  // namespace

std::unique_ptr<RuleSpec> make_lomo() {
  return rule_spec<Lomo>({"lomo", "SGD without any state, for gradients that are released"});
}

}  // namespace blockwise
