// Adaptive memory momentum (Topollai and Choromanska, arXiv 2510.04988): the weight of the past
// follows from what the new gradient says of it.
//   b = <g' + c d, g' - d> / ||g' - d||^2, within 0 .. 1, c = memory
//   d <- ((b + c) d + (1 - b) g') / (1 + c);  d = g' where d was 0
//   w <- (1 - lr wd) w - lr d                      denominator "none"
//   w <- (1 - lr wd) w - lr d / (sqrt(v / (1 - beta2^t)) + eps)   denominator "adam",
//   v <- beta2 v + (1 - beta2) g'^2
// The model of the loss about w is the larger of two planes through its value there, of slopes g'
// and d; its proximal step, held near that along d by c, goes along the shortest of the vectors
// (b + c) d + (1 - b) g', 0 <= b <= 1, and the b of that one is the above. The paper's closed form,
// the heights of its planes and its c could not be read, and no code is public: this derivation
// stands for them. Under it d never grows in norm. b is one per tensor; with a denominator it is
// still that of the plain scalar product. State: 4 bytes per parameter, as much again with a
// denominator, and 4 for the weight of the past, (b + c) / (1 + c), for who looks.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct AdaptiveMemoryOptions {
  std::string denominator = "adam";
  double memory = 0.1;
  double beta2 = 0.999;
  double eps = 1e-8;

  void visit(FieldVisitor& v) {
    v.choice({"denominator", "of a step; adam: the root of a second moment"}, denominator,
             {"adam", "none"});
    v.real({"memory", "weight of the past beside what adapts"}, memory, {0.0, 1e6});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"eps", "added to the root of the second moment, after its bias correction"}, eps,
           {0.0, 1.0, true, false});
  }
};

class AdaptiveMemory : public UpdateRule {
 public:
  using Options = AdaptiveMemoryOptions;
  explicit AdaptiveMemory(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs{{"momentum_buffer", parameter.shape},
                                 {"momentum", {}, StateUse::accumulator}};
    if (divides()) specs.push_back({"exp_avg_sq", parameter.shape, StateUse::non_negative});
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto d = as_matrix(p, p.state.load(0));
    remember(g, d, p.state.load(1));
    const StepSize size{scope.learning_rate, scope.learning_rate * p.weight_decay,
                        element_rates(p)};
    if (!divides()) return take_step(as_matrix(p, p.weight), d, size);
    const auto v = as_matrix(p, p.state.load(2));
    v.mul_(options_.beta2).addcmul_(g, g, 1.0 - options_.beta2);
    const double bias = std::sqrt(1.0 - std::pow(options_.beta2, double(scope.step)));
    return take_step(as_matrix(p, p.weight), d / v.sqrt().div_(bias).add_(options_.eps), size);
  }

 private:
  bool divides() const { return options_.denominator == "adam"; }

  // d and b of this gradient.
  void remember(const at::Tensor& g, const at::Tensor& d, const at::Tensor& momentum) const {
    const double c = options_.memory;
    const auto apart = g - d;
    const auto along = fixed_sum((g + d * c).to(at::kDouble) * apart);
    const auto square = fixed_sum(apart.to(at::kDouble).square());
    // Equal vectors leave nothing to choose.
    const auto b = at::where(square > 0, along / square, 0.0).clamp(0.0, 1.0);
    const auto new_share = at::where(d.any(), (1.0 - b) / (1.0 + c), 1.0);
    momentum.copy_(1.0 - new_share);
    d.add_(apart * new_share);
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_adaptive_memory() {
  return rule_spec<AdaptiveMemory>(
      {"adaptive_memory", "momentum whose weight of the past follows the gradients, per tensor"});
}

}  // namespace blockwise
