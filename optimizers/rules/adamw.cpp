// AdamW (Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2), in the order and with the eps of
// torch.optim.AdamW: decay first, eps after the root and the bias correction.
// State: exp_avg and exp_avg_sq, 8 bytes per parameter.
#include <ATen/ATen.h>

#include "optimizers/adam_options.hpp"

namespace blockwise {
namespace {

class AdamW : public UpdateRule {
 public:
  explicit AdamW(const AdamOptions& options) : options_(options) {}

  std::vector<StateKind> state() const override {
    return {{"exp_avg", StateKind::Extent::per_parameter},
            {"exp_avg_sq", StateKind::Extent::per_parameter}};
  }

  double update_cpu(const BlockUpdate& u, const StepInfo& info,
                    kernels::Workspace& space) const override {
    const kernels::MatrixView matrix{u.parameter.data_ptr<float>(), u.gradient.data_ptr<float>(),
                                     u.state[0].data_ptr<float>(), u.block.rows(),
                                     u.block.columns()};
    return kernels::adam_per_element(matrix, u.state[1].data_ptr<float>(), options_.step(info),
                                     space);
  }

  at::Tensor update_tensors(const BlockUpdate& u, const StepInfo& info) const override {
    const auto g = u.gradient.view({-1}) * info.gradient_scale;
    const auto moment = options_.second_moment(info.step);
    u.state[1].mul_(moment.keep).addcmul_(g, g, moment.add);
    return adam_section_tensors(u.parameter.view({-1}), g, u.state[0], u.state[1], options_, info);
  }

 private:
  AdamOptions options_;
};

class AdamWSpec : public RuleSpec {
 public:
  std::string name() const override { return "adamw"; }
  std::string doc() const override { return "AdamW: two moments per parameter"; }
  bool uses_partition() const override { return false; }
  void visit(FieldVisitor& v) override { options_.visit(v); }
  std::unique_ptr<UpdateRule> build() const override { return adamw_rule(options_); }
  std::unique_ptr<RuleSpec> clone() const override { return std::make_unique<AdamWSpec>(*this); }

 private:
  AdamOptions options_;
};

}  // namespace

std::unique_ptr<UpdateRule> adamw_rule(const AdamOptions& options) {
  return std::make_unique<AdamW>(options);
}

std::unique_ptr<RuleSpec> make_adamw() { return std::make_unique<AdamWSpec>(); }

}  // namespace blockwise
