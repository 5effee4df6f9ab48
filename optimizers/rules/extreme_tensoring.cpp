// Extreme Tensoring (Chen et al., arXiv 1902.04620, Algorithm 1): AdaGrad whose accumulators are
// sums over slices of the tensor, seen as one of p axes d_1 x ... x d_p.
//   S_a[k] <- S_a[k] + sum of g'_i^2 over i with i_a = k  (an average by beta2 where that is below
//   1) w <- (1 - lr wd) w - lr g'_i (eps + prod_a S_a[i_a])^(-1 / (2 p))
// Each axis of a matrix, or the one of a vector, is split into `factors_per_axis` whole numbers,
// each the largest that divides what is left and is at most its root; ones are left out. One axis
// is AdaGrad with eps inside the root. There is no public code of the authors': exponent and eps
// are the paper's. Deviation: decoupled decay. State: 4 (d_1 + ... + d_p) bytes.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct ExtremeTensoringOptions {
  std::int64_t factors_per_axis = 1;
  double beta2 = 1.0;
  double eps = 1e-8;

  void visit(FieldVisitor& v) {
    v.integer({"factors_per_axis", "axes that each axis of a parameter is split into"},
              factors_per_axis, {1, 16});
    v.real({"beta2", "decay of the accumulators; 1: they are sums"}, beta2, {0.0, 1.0});
    v.real({"eps", "added to the product of accumulators, inside the root"}, eps,
           {0.0, 1.0, true, false});
  }
};

// Appends n as a product of at most `count` factors above 1.
void split(std::int64_t n, std::int64_t count, std::vector<std::int64_t>& factors) {
  for (; count > 1 && n > 1; --count) {
    auto factor = static_cast<std::int64_t>(std::pow(double(n), 1.0 / double(count)) + 1e-9);
    while (n % factor != 0) --factor;
    if (factor > 1) factors.push_back(factor);
    n /= factor;
  }
  if (n > 1) factors.push_back(n);
}

class ExtremeTensoring : public UpdateRule {
 public:
  using Options = ExtremeTensoringOptions;
  explicit ExtremeTensoring(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs;
    for (const auto length : axes(parameter)) {
      specs.push_back(
          {"accumulator_" + std::to_string(specs.size()), {length}, StateUse::accumulator});
    }
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto lengths = axes(p.parameter);
    const auto g = scaled_gradient(p, scope).view(lengths);
    const auto squares = g.square();
    const bool sums = options_.beta2 == 1.0;
    // In double: a product of sums has the exponents of all of them.
    auto product = at::ones({1}, g.options().dtype(at::kDouble));
    for (std::size_t axis = 0; axis < lengths.size(); ++axis) {
      const auto& accumulator = p.state.load(axis);
      const auto slices =
          row_sums(squares.movedim(std::int64_t(axis), 0).reshape({lengths[axis], -1}));
      accumulator.mul_(options_.beta2).add_(slices, sums ? 1.0 : 1.0 - options_.beta2);
      std::vector<std::int64_t> shape(lengths.size(), 1);
      shape[axis] = -1;
      product = product * accumulator.view(shape);
    }
    const double exponent = -0.5 / double(lengths.size());
    const auto direction = g * (product + options_.eps).pow(exponent).to(g.scalar_type());
    return take_step(as_matrix(p, p.weight), as_matrix(p, direction),
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  std::vector<std::int64_t> axes(const Parameter& parameter) const {
    std::vector<std::int64_t> lengths;
    split(parameter.rows(), options_.factors_per_axis, lengths);
    split(parameter.columns(), options_.factors_per_axis, lengths);
    if (lengths.empty()) lengths.push_back(1);
    return lengths;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_extreme_tensoring() {
  return rule_spec<ExtremeTensoring>(
      {"extreme_tensoring", "AdaGrad with a sum per index of a few axes"});
}

}  // namespace blockwise
