// SGD with heavy-ball or Nesterov momentum (Sutskever et al., ICML 2013, in the form of
// torch.optim.SGD without dampening): b <- momentum b + g; w <- (1 - lr wd) w - lr b, or - lr (g +
// momentum b). Deviation from torch.optim.SGD: weight decay is decoupled, as for every rule here.
// State: momentum_buffer, 4 bytes per parameter.
#include <ATen/ATen.h>

#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
};

class SgdMomentum : public UpdateRule {
 public:
  explicit SgdMomentum(const SgdOptions& options) : options_(options) {}

  std::vector<StateKind> state() const override {
    return {{"momentum_buffer", StateKind::Extent::per_parameter}};
  }

  double update_cpu(const BlockUpdate& u, const StepInfo& info,
                    kernels::Workspace& space) const override {
    kernels::SgdStep step;
    step.momentum = static_cast<float>(options_.momentum);
    step.decay = static_cast<float>(1.0 - info.learning_rate * info.weight_decay);
    step.learning_rate = static_cast<float>(info.learning_rate);
    step.gradient_scale = static_cast<float>(info.gradient_scale);
    step.nesterov = options_.nesterov;
    return kernels::sgd_momentum(u.parameter.data_ptr<float>(), u.gradient.data_ptr<float>(),
                                 u.state[0].data_ptr<float>(), u.block.size(), step, space);
  }

  at::Tensor update_tensors(const BlockUpdate& u, const StepInfo& info) const override {
    const auto w = u.parameter.view({-1});
    const auto g = u.gradient.view({-1}) * info.gradient_scale;
    const auto old = w.clone();
    u.state[0].mul_(options_.momentum).add_(g);
    const auto direction = options_.nesterov ? g + u.state[0] * options_.momentum : u.state[0];
    w.mul_(1.0 - info.learning_rate * info.weight_decay).sub_(direction * info.learning_rate);
    return (w - old).to(at::kDouble).square().sum();
  }

 private:
  SgdOptions options_;
};

class SgdMomentumSpec : public RuleSpec {
 public:
  std::string name() const override { return "sgd_momentum"; }
  std::string doc() const override { return "SGD with momentum and decoupled weight decay"; }
  bool uses_partition() const override { return false; }
  void visit(FieldVisitor& v) override {
    v.real({"momentum", "decay of the buffer"}, options_.momentum, {0.0, 1.0, false, true});
    v.boolean({"nesterov", "look-ahead form"}, options_.nesterov);
  }
  std::unique_ptr<UpdateRule> build() const override {
    return std::make_unique<SgdMomentum>(options_);
  }
  std::unique_ptr<RuleSpec> clone() const override {
    return std::make_unique<SgdMomentumSpec>(*this);
  }

 private:
  SgdOptions options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_sgd_momentum() { return std::make_unique<SgdMomentumSpec>(); }

}  // namespace blockwise
