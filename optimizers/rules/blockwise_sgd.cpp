// SGD with one fixed learning rate per block and no second moment at all, the rule that Adam-mini's
// paper argues from (Zhang et al., arXiv 2406.16793, Sec. 2): the best rate of every block, given
// with optimizer.block_lr, instead of a guess from the gradients.
//   m <- momentum m + (1 - momentum) g;   w_b <- (1 - lr_b wd) w_b - lr_b m_b / (1 - momentum^t)
// with lr_b = lr * value_b; without a file it is one rate for all. State: exp_avg, 4 bytes per
// parameter. Deviation from sgd_momentum: the buffer is an average, so that the rate that curvature
// gives, 2 / (lambda_max + lambda_min), is that of gradient descent whatever the momentum.
#include <ATen/ATen.h>

#include "optimizers/adam_options.hpp"

namespace blockwise {
namespace {

class BlockwiseSgd : public UpdateRule {
 public:
  explicit BlockwiseSgd(double momentum) : options_{momentum, 0.0, 0.0} {}

  std::vector<StateKind> state() const override {
    return {{"exp_avg", StateKind::Extent::per_parameter}};
  }

  double update_cpu(const BlockUpdate& u, const StepInfo& info,
                    kernels::Workspace& space) const override {
    const kernels::MatrixView matrix{u.parameter.data_ptr<float>(), u.gradient.data_ptr<float>(),
                                     u.state[0].data_ptr<float>(), u.block.rows(),
                                     u.block.columns()};
    return kernels::momentum_step(matrix, options_.step(info), space);
  }

  at::Tensor update_tensors(const BlockUpdate& u, const StepInfo& info) const override {
    return momentum_section_tensors(u.parameter.view({-1}),
                                    u.gradient.view({-1}) * info.gradient_scale, u.state[0],
                                    options_, info);
  }

 private:
  AdamOptions options_;  // its beta1 alone
};

class BlockwiseSgdSpec : public RuleSpec {
 public:
  std::string name() const override { return "blockwise_sgd"; }
  std::string doc() const override {
    return "momentum and one fixed rate per block of a partition (block_lr), no second moment";
  }
  bool uses_partition() const override { return true; }
  void visit(FieldVisitor& v) override {
    v.real({"momentum", "decay of the average of gradients"}, momentum_, {0.0, 1.0, false, true});
  }
  std::unique_ptr<UpdateRule> build() const override {
    return std::make_unique<BlockwiseSgd>(momentum_);
  }
  std::unique_ptr<RuleSpec> clone() const override {
    return std::make_unique<BlockwiseSgdSpec>(*this);
  }

 private:
  double momentum_ = 0.9;
};

}  // namespace

std::unique_ptr<RuleSpec> make_blockwise_sgd() { return std::make_unique<BlockwiseSgdSpec>(); }

}  // namespace blockwise
