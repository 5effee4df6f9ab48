// The update of FP8-LM (Peng et al., arXiv 2310.18313, Sec. 2.2), as MS-AMP's LBAdamW does it:
// AdamW with m in FP8 E4M3 and v in FP16, each with a scale per tensor, and weights that FP16 with
// a scale per tensor holds.
//   m, v: as stored, divided by their scales
//   w <- (1 - lr wd) w;  m <- beta1 m + (1 - beta1) g';  v <- beta2 v + (1 - beta2) g'^2
//   w <- w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps), with m and v not yet rounded
//   scale = 2^floor(log2(largest / max|x|)), largest 448 for E4M3 and 65504 for FP16; where max|x|
//   is 0 the old one stays;  stored = round(x scale), to nearest, ties to even
// v below 2^-40 of the tensor's largest becomes 0, as it does there. Deviation: the rounded weights
// are float32 numbers (FP16 times a power of 2, exactly) in the model's own buffer, so that nothing
// is kept twice; with master float32 they are not rounded. Gradients are what the run has. State:
// exp_avg, 1 byte per parameter, exp_avg_sq, 2, and 8 bytes of scales a tensor.
#include <ATen/ATen.h>

#include "optimizers/adam_options.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct Fp8AdamWOptions {
  AdamOptions adam;
  std::string master = "float16";

  void visit(FieldVisitor& v) {
    adam.visit(v);
    v.choice({"master", "of the weights: float16 with a scale per tensor, or float32 as they are"},
             master, {"float16", "float32"});
  }
};

constexpr double kLargestE4m3 = 448.0, kLargestHalf = 65504.0;

// 2^floor(log2(largest / max|x|)), 0-d of float32; `kept`, or 1 where that is 0, for zeros.
at::Tensor scale_for(const at::Tensor& x, double largest, const at::Tensor& kept) {
  const auto most = x.abs().max().to(at::kDouble);
  const auto exponent = (largest / most).log2().floor().clamp(-120.0, 120.0);
  const auto before = at::where(kept > 0, kept.to(at::kDouble), 1.0);
  return at::where(most > 0, exponent.exp2(), before).to(at::kFloat);
}

// What is stored of x as a type, in the units of the scale, which is written.
at::Tensor rounded(const at::Tensor& x, at::ScalarType type, double largest,
                   const at::Tensor& scale) {
  scale.copy_(scale_for(x, largest, scale));
  return (x * scale).to(type);
}

at::Tensor restored(const at::Tensor& stored, const at::Tensor& scale) {
  return stored.to(at::kFloat) / at::where(scale > 0, scale, 1.0);
}

class Fp8AdamW : public UpdateRule {
 public:
  using Options = Fp8AdamWOptions;
  explicit Fp8AdamW(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"exp_avg", parameter.shape, StateUse::average, at::kByte},
            {"exp_avg_sq", parameter.shape, StateUse::non_negative, at::kHalf},
            {"exp_avg_scale", {}, StateUse::accumulator},
            {"exp_avg_sq_scale", {}, StateUse::accumulator}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto codes = as_matrix(p, p.state.load(0)).view(at::kFloat8_e4m3fn);
    const auto halves = as_matrix(p, p.state.load(1));
    const auto m = restored(codes, p.state.load(2)), v = restored(halves, p.state.load(3));
    const auto moment = options_.adam.second_moment(scope.step);
    v.mul_(moment.keep).addcmul_(g, g, moment.add);
    auto size = options_.adam.size(scope, p.weight_decay);
    size.rate = element_rates(p);
    const auto w = as_matrix(p, p.weight);
    const auto old = w.clone();
    adam_tensors({w, g, m, v}, options_.adam, scope, size);
    codes.copy_(rounded(m, at::kFloat8_e4m3fn, kLargestE4m3, p.state.load(2)));
    halves.copy_(rounded(v, at::kHalf, kLargestHalf, p.state.load(3)));
    if (options_.master == "float16") {
      const auto scale = at::zeros({}, w.options());
      const auto stored = rounded(w, at::kHalf, kLargestHalf, scale);
      w.copy_(restored(stored, scale));
    }
    return fixed_sum((w - old).to(at::kDouble).square());
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_fp8_adamw() {
  return rule_spec<Fp8AdamW>(
      {"fp8_adamw", "FP8-LM's AdamW: moments in 1 and 2 bytes, weights that fp16 holds"});
}

}  // namespace blockwise
