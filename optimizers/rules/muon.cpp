// Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024), in the
// form of torch.optim.Muon: momentum whose singular values are set to about 1.
//   m <- momentum m + (1 - momentum) g';  u = (1 - momentum) g' + momentum m, or m without Nesterov
//   w <- (1 - lr wd) w - lr s orthogonalized(u)
// s = sqrt(max(1, rows / columns)) for rate_scale "original", 0.2 sqrt(max(rows, columns)) for
// "match_rms_adamw" (Liu et al., arXiv 2502.16982, eq. 4), where the rates of AdamW fit and one
// learning rate serves both rules. Only matrices; what `fallback` takes has a rule of its own.
// A fused tensor is one matrix. State: momentum_buffer, 4 bytes per parameter.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/newton_schulz.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"

namespace blockwise {
namespace {

struct MuonOptions {
  double momentum = 0.95;
  bool nesterov = true;
  std::int64_t newton_schulz_steps = 5;
  std::string newton_schulz_type = "bfloat16";
  std::string rate_scale = "match_rms_adamw";
  FallbackRule fallback{
      .roles = {"token_embedding", "position_embedding", "lm_head", "norm", "bias"}};

  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the average of gradients"}, momentum, {0.0, 1.0, false, true});
    v.boolean({"nesterov", "look-ahead form"}, nesterov);
    v.integer({"newton_schulz_steps", "steps of the orthogonalization"}, newton_schulz_steps,
              {1, 100});
    v.choice({"newton_schulz_type", "of its products"}, newton_schulz_type,
             {"bfloat16", "float32"});
    v.choice({"rate_scale", "how the step of a matrix grows with its sides"}, rate_scale,
             {"match_rms_adamw", "original"});
    fallback.visit(v, {"fallback", "the rule of all that Muon does not take"});
  }
};

class Muon : public UpdateRule {
 public:
  using Options = MuonOptions;
  explicit Muon(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const ParameterBlock& block, const TensorPartition&) const override {
    return {{"momentum_buffer", block.shape}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0));
    const double mu = options_.momentum;
    m.lerp_(g, 1.0 - mu);
    const auto u = options_.nesterov ? g.lerp(m, mu) : m;
    const auto type = options_.newton_schulz_type == "bfloat16" ? at::kBFloat16 : at::kFloat;
    const auto direction = orthogonalized(u.to(type), options_.newton_schulz_steps);
    return take_step(as_matrix(p, p.weight), direction.to(p.weight.scalar_type()),
                     {scope.learning_rate * scale(p.block), scope.learning_rate * p.weight_decay,
                      element_rates(p)});
  }

 private:
  double scale(const ParameterBlock& block) const {
    const double rows = double(block.rows()), columns = double(block.columns());
    return options_.rate_scale == "original" ? std::sqrt(std::max(1.0, rows / columns))
                                             : 0.2 * std::sqrt(std::max(rows, columns));
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_muon() {
  return rule_spec<Muon>(
      {"muon",
       "momentum with all singular values near 1, for matrices; another rule for the rest"});
}

}  // namespace blockwise
