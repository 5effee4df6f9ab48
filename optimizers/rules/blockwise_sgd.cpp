// SGD with one fixed learning rate per block and no second moment at all, the rule that Adam-mini's
// paper argues from (Zhang et al., arXiv 2406.16793, Sec. 2): the best rate of every block, given
// with optimizer.block_lr, instead of a guess from the gradients.
//   m <- momentum m + (1 - momentum) g;   w_b <- (1 - lr_b wd) w_b - lr_b m_b / (1 - momentum^t)
// with lr_b = lr * value_b; without a file it is one rate for all. State: exp_avg, 4 bytes per
// parameter. Deviation from sgd_momentum: the buffer is an average, so that the rate that curvature
// gives, 2 / (lambda_max + lambda_min), is that of gradient descent whatever the momentum.
#include <ATen/ATen.h>

#include "optimizers/adam_options.hpp"
#include "optimizers/flat_steps.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct BlockwiseSgdOptions {
  double momentum = 0.9;
  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the average of gradients"}, momentum, {0.0, 1.0, false, true});
  }
};

class BlockwiseSgd : public UpdateRule, public FusedStep, public FlatStep {
 public:
  using Options = BlockwiseSgdOptions;
  explicit BlockwiseSgd(const Options& options) : average_{options.momentum, 0.0, 0.0} {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"exp_avg", parameter.shape}};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const override {
    return {.kind = kernels::FlatRule::Kind::adam, .adam = average_.step(scope, weight_decay)};
  }
  bool set_moment(const PartitionSection&, kernels::FlatSection& flat) const override {
    flat.moment = kernels::FlatSection::Moment::none;
    return true;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step = average_.step(scope, p.weight_decay);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t) {
      return kernels::momentum_step(rows, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    auto size = average_.size(scope, p.weight_decay);
    size.rate = element_rates(p);
    return momentum_tensors(as_matrix(p, p.weight), scaled_gradient(p, scope),
                            as_matrix(p, p.state.load(0)), average_.beta1, size);
  }

 private:
  AdamOptions average_;  // its beta1 alone
};

}  // namespace

std::unique_ptr<RuleSpec> make_blockwise_sgd() {
  return rule_spec<BlockwiseSgd>(
      {"blockwise_sgd",
       "momentum and one fixed rate per block of a partition (block_lr), no second moment", true});
}

}  // namespace blockwise
