// SGD as torch.optim.SGD has it, with the choice of where decay enters and of what stays as it is
// (Kumar et al., "How to fine-tune vision models with SGD", arXiv 2211.09359: frozen embeddings let
// it match AdamW).
//   g' <- g' + wd w where decay is coupled
//   b <- momentum b + g' (b = g' at the first step);  d = b, or g' + momentum b with nesterov
//   w <- (1 - lr wd) w - lr d, without the factor where decay is coupled
// Parameters of a frozen role keep their values and have no state. Deviation from torch.optim.SGD:
// decoupled decay by default, as for every rule here. State: none without momentum, otherwise
// momentum_buffer, 4 bytes per parameter that is not frozen. Decoupled, the CPU's kernel is that of
// sgd_momentum, or lomo's without momentum: fused multiply-adds, a unit in the last place from the
// tensor operations.
#include <ATen/ATen.h>

#include <algorithm>

#include "optimizers/flat_steps.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct PlainSgdOptions {
  double momentum = 0.0;
  bool nesterov = false;
  std::string decay = "decoupled";
  std::vector<std::string> freeze;
  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the buffer; 0: none is kept"}, momentum, {0.0, 1.0, false, true});
    v.boolean({"nesterov", "look-ahead form"}, nesterov);
    v.choice({"decay", "coupled: weight_decay times the weights is added to the gradient"}, decay,
             {"decoupled", "coupled"});
    v.choice_list({"freeze", "roles whose parameters stay as they are"}, freeze, role_names());
    v.check("nesterov", nesterov && momentum == 0.0 ? "needs a momentum above 0" : "");
  }
};

class Sgd : public UpdateRule, public FusedStep, public FlatStep {
 public:
  using Options = PlainSgdOptions;
  explicit Sgd(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    if (frozen(parameter) || options_.momentum == 0.0) return {};
    return {{"momentum_buffer", parameter.shape}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() && options_.decay == "decoupled" ? this : nullptr;
  }

  // Frozen tensors have no state, so buffers would not lie as the weights do.
  bool has_flat_step() const override {
    return options_.freeze.empty() && options_.decay == "decoupled";
  }

  kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const override {
    using Kind = kernels::FlatRule::Kind;
    return {.kind = options_.momentum > 0.0 ? Kind::momentum : Kind::descent,
            .sgd = step_of(scope, weight_decay)};
  }
  bool set_moment(const PartitionSection&, kernels::FlatSection& flat) const override {
    flat.moment = kernels::FlatSection::Moment::none;
    return true;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    if (frozen(p.parameter)) return 0.0;
    const auto step = step_of(scope, p.weight_decay);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t) {
      return options_.momentum > 0.0 ? kernels::sgd_momentum(rows, step, scope.space)
                                     : kernels::gradient_descent(rows, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    if (frozen(p.parameter)) return at::zeros({}, p.weight.options().dtype(at::kDouble));
    const bool coupled = options_.decay == "coupled";
    const auto w = as_matrix(p, p.weight);
    auto direction = scaled_gradient(p, scope);
    if (coupled) direction.add_(w, p.weight_decay);
    if (options_.momentum > 0.0) {
      const auto b = as_matrix(p, p.state.load(0));
      b.mul_(options_.momentum).add_(direction);
      direction = options_.nesterov ? direction.add_(b, options_.momentum) : b;
    }
    return take_step(w, direction,
                     {scope.learning_rate, coupled ? 0.0 : scope.learning_rate * p.weight_decay,
                      element_rates(p)});
  }

 private:
  kernels::SgdStep step_of(const StepScope& scope, double weight_decay) const {
    auto step = kernels::SgdStep::of(scope.learning_rate, weight_decay, scope.gradient_scale);
    step.momentum = static_cast<float>(options_.momentum);
    step.nesterov = options_.nesterov;
    return step;
  }
  bool frozen(const Parameter& parameter) const {
    return std::ranges::count(options_.freeze, role_name(parameter.role)) > 0;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_sgd() {
  return rule_spec<Sgd>({"sgd", "SGD, plain or with momentum; roles can be frozen"});
}

}  // namespace blockwise
