// GWT (arXiv 2501.07237, Algorithm 1), in the form of the authors' repository: Adam on the coarse
// part of a Haar transform of each row.
//   a_0 = g';  a_{k+1}, d_{k+1} = (even + odd) / sqrt 2, (even - odd) / sqrt 2 of a_k, which is
//   filled up with a zero where its length is odd;  m, v, A = m / (sqrt(v) + eps) of a_level A <- A
//   / growth, bounded as Fira does;  D_k = d_k / ((sqrt(v) + eps) growth), v at its place w <- (1 -
//   lr wd) (w - lr sqrt(1 - beta2^t) / (1 - beta1^t) scale (the inverse transform of A, D))
// eps as in galore_adam.hpp. Deviations: Haar's wavelet alone. State: 8 rows ceil(columns /
// 2^level)
// + 4 bytes a matrix.
#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "optimizers/galore_adam.hpp"
#include "optimizers/hidden_matrices.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct GwtOptions {
  std::int64_t level = 2;
  double scale = 0.25;
  GaloreAdam adam;
  FallbackRule fallback = beside_hidden_matrices();

  void visit(FieldVisitor& v) {
    v.integer({"level", "of the transform; the coarse part has 1 / 2^level of the columns"}, level,
              {0, 20});
    v.real({"scale", "of a step"}, scale, {0.0, 1e3});
    adam.visit(v);
    fallback.visit(v, {"fallback", "the rule of all that GWT does not take"});
  }
};

// Even and odd columns of x, the odd ones filled up with a zero.
std::pair<at::Tensor, at::Tensor> even_odd(const at::Tensor& x) {
  const auto pairs = at::constant_pad_nd(x, {0, x.size(1) % 2}).view({x.size(0), -1, 2});
  return {pairs.select(2, 0), pairs.select(2, 1)};
}

class Gwt : public UpdateRule {
 public:
  using Options = GwtOptions;
  explicit Gwt(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    auto columns = parameter.columns();
    for (std::int64_t k = 0; k < options_.level; ++k) columns = (columns + 1) / 2;
    return {{"exp_avg", {parameter.rows(), columns}},
            {"exp_avg_sq", {parameter.rows(), columns}, StateUse::non_negative},
            {"step_norm", {}, StateUse::non_negative}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    auto coarse = scaled_gradient(p, scope);
    std::vector<at::Tensor> details;
    for (std::int64_t k = 0; k < options_.level; ++k) {
      const auto [even, odd] = even_odd(coarse);
      details.push_back((even - odd) * kHalfRoot);
      coarse = (even + odd) * kHalfRoot;
    }
    const auto m = p.state.load(0), v = p.state.load(1);
    options_.adam.average(m, v, coarse);
    auto root = v.sqrt().add_(options_.adam.eps);
    auto step = m / root;
    const auto growth = growth_divisor(fixed_norm(step), p.state.load(2));
    step = step / growth;
    for (auto k = options_.level - 1; k >= 0; --k) {
      const auto& detail = details[std::size_t(k)];
      const auto columns = detail.size(1);
      step = step.narrow(1, 0, columns);
      const auto d = detail / (root.narrow(1, 0, columns) * growth);
      step = at::stack({step + d, step - d}, 2).view({step.size(0), -1}) * kHalfRoot;
      root = root.repeat_interleave(2, 1);
    }
    return options_.adam.step(p, scope, step.narrow(1, 0, p.parameter.columns()), options_.scale);
  }

 private:
  static constexpr double kHalfRoot = 1.0 / std::numbers::sqrt2;

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_gwt() {
  return rule_spec<Gwt>({"gwt", "Adam on the coarse part of a Haar transform, for matrices"});
}

}  // namespace blockwise
