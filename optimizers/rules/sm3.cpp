// SM3-II (Anil et al., arXiv 1901.11150, Algorithm SM3-II), as the authors' release has it: AdaGrad
// whose accumulators are kept as their maxima over each index of each axis.
//   nu_i = min over axes a of mu_a[i_a], + g'_i^2;  u = g' / sqrt(nu + 1e-30)
//   b <- momentum b + (1 - momentum) u;  w <- (1 - lr wd) w - lr b
//   mu_a[k] <- max of nu_i over i with i_a = k
// Accumulators never fall, so rates are AdaGrad's. A vector is AdaGrad. Deviation: the decoupled
// decay, which the release does not have. State: 4 bytes a parameter (none with momentum 0) and 4
// for every index of every axis: 4 (rows + columns) a matrix.
#include <ATen/ATen.h>

#include <algorithm>

#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct Sm3Options {
  double momentum = 0.9;
  void visit(FieldVisitor& v) {
    v.real({"momentum", "decay of the average of steps; 0: none is kept"}, momentum,
           {0.0, 1.0, false, true});
  }
};

class Sm3 : public UpdateRule {
 public:
  using Options = Sm3Options;
  explicit Sm3(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs;
    for (std::size_t axis = 0; axis < parameter.shape.size(); ++axis) {
      specs.push_back(
          {"accumulator_" + std::to_string(axis), {parameter.shape[axis]}, StateUse::accumulator});
    }
    if (options_.momentum > 0.0) specs.push_back({"momentum_buffer", parameter.shape});
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope).view(p.parameter.shape);
    auto u = g / accumulate(p, g).add(1e-30).sqrt_();
    if (options_.momentum > 0.0) {
      const auto& b = p.state.load(p.parameter.shape.size());
      u = b.mul_(options_.momentum).add_(u, 1.0 - options_.momentum);
    }
    return take_step(as_matrix(p, p.weight), as_matrix(p, u),
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  // Returns nu, in the parameter's shape.
  static at::Tensor accumulate(const ParameterStep& p, const at::Tensor& g) {
    const auto axes = std::int64_t(p.parameter.shape.size());
    const auto along = [&](std::int64_t axis) {
      std::vector<std::int64_t> shape(std::size_t(axes), 1);
      shape[std::size_t(axis)] = -1;
      return p.state.load(std::size_t(axis)).view(shape);
    };
    auto nu = along(0).expand_as(g).clone();
    for (std::int64_t axis = 1; axis < axes; ++axis) nu = at::minimum(nu, along(axis));
    nu.addcmul_(g, g);
    for (std::int64_t axis = 0; axis < axes; ++axis) {
      std::vector<std::int64_t> others;
      for (std::int64_t other = 0; other < axes; ++other) {
        if (other != axis) others.push_back(other);
      }
      p.state.load(std::size_t(axis)).copy_(others.empty() ? nu : nu.amax(others));
    }
    return nu;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_sm3() {
  return rule_spec<Sm3>({"sm3", "SM3-II: AdaGrad with a value per row and one per column"});
}

}  // namespace blockwise
