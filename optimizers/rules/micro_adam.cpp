// MicroAdam (Modoranu et al., arXiv 2405.15593, Algorithm 1), in the form of the authors' package:
// Adam over the largest entries of the last gradients, with what they leave out fed back in 4 bits.
// A parameter is taken as flat:
//   a = g' + e;  of every run of `block` elements the share `density` of largest |a| is kept, as
//   int16 places and bfloat16 values, in the place of the oldest of `window` such sets, and is 0 in
//   a from then on
//   e = a in codes 0 .. 15 between the least and the largest value of every run of `error_block`:
//   code = floor((a - min) / u + 1/2), e = min + code u, u = (max - min) / 15, bounds in bfloat16
//   m = (1 - beta1) sum_i beta1^(t - t_i) a_i / (1 - beta1^t), a_i the set of step t_i, v alike
//   of a_i^2 and beta2;  w <- (1 - lr wd) w - lr m / (sqrt(v) + eps)
// Deviations: the package's `block` follows the device's shared memory; here it is given. Sets know
// their step (8 bytes each), so that one that a released gradient could not give is missing and
// nothing else. State, for n elements: 4 window density n + n / 2 + 4 n / error_block bytes and 8
// window.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/checked_math.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct MicroAdamOptions {
  std::int64_t window = 10;
  double density = 0.01;
  std::int64_t block = 16384;
  std::int64_t error_block = 100000;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;

  void visit(FieldVisitor& v) {
    v.integer({"window", "gradients whose largest entries are kept"}, window, {1, 1000});
    v.real({"density", "share of the entries that is kept of a gradient, rounded up"}, density,
           {0.0, 1.0, true, false});
    v.integer({"block", "elements of which the largest are kept; their places are int16"}, block,
              {1, 32768});
    v.integer({"error_block", "elements that share the two bounds of the 4-bit error"}, error_block,
              {1, std::int64_t{1} << 40});
    v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"eps", "added to the root of the second moment, after its bias correction"}, eps,
           {0.0, 1.0, true, false});
  }
};

// Runs of a flat tensor, the last one shorter, and how many entries of each are kept.
struct Runs {
  std::int64_t size, length, full, rest;
  std::int64_t kept_of_full, kept_of_rest;

  Runs(std::int64_t elements, const MicroAdamOptions& options)
      : size(elements),
        length(std::min(options.block, elements)),
        full(elements / length),
        rest(elements % length),
        kept_of_full(share(length, options.density)),
        kept_of_rest(share(rest, options.density)) {}

  static std::int64_t share(std::int64_t n, double density) {
    return std::min(n, static_cast<std::int64_t>(std::ceil(double(n) * density)));
  }
  std::int64_t kept() const { return full * kept_of_full + kept_of_rest; }

  // First elements of the runs, for every kept entry.
  at::Tensor begins(const at::TensorOptions& options) const {
    const auto of_full = at::arange(full, options).repeat_interleave(kept_of_full);
    const auto of_rest = at::full({kept_of_rest}, full, options);
    return at::cat({of_full, of_rest}) * length;
  }
  // Places, within their runs, of the largest entries.
  at::Tensor largest(const at::Tensor& a) const {
    const auto place = [](const at::Tensor& x, std::int64_t count) {
      return std::get<1>(x.abs().topk(count, -1, true, false)).reshape({-1});
    };
    const auto of_full = place(a.narrow(0, 0, full * length).view({full, length}), kept_of_full);
    return at::cat({of_full, place(a.narrow(0, full * length, rest), kept_of_rest)});
  }
};

enum Number : std::size_t { kPlaces, kValues, kSteps, kCodes, kLeast, kLargest };

class MicroAdam : public UpdateRule {
 public:
  using Options = MicroAdamOptions;
  explicit MicroAdam(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const auto size = parameter.size();
    const auto kept = Runs(size, options_).kept();
    const auto bounds = ceil_divide(size, options_.error_block);
    return {{"places", {options_.window, kept}, StateUse::index, at::kShort},
            {"values", {options_.window, kept}, StateUse::accumulator, at::kBFloat16},
            {"steps", {options_.window}, StateUse::index, at::kLong},
            {"error", {ceil_divide(size, 2)}, StateUse::index, at::kByte},
            {"error_least", {bounds}, StateUse::accumulator, at::kBFloat16},
            {"error_largest", {bounds}, StateUse::accumulator, at::kBFloat16}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const Runs runs(p.parameter.size(), options_);
    const auto a = scaled_gradient(p, scope).reshape({-1}).add_(error(p));
    keep_largest(a, runs, p, scope);
    set_error(a, p);
    const auto m = average(runs, p, scope, options_.beta1, 1);
    const auto v = average(runs, p, scope, options_.beta2, 2);
    const auto direction = m / v.sqrt_().add_(options_.eps);
    return take_step(as_matrix(p, p.weight), as_matrix(p, direction.view(p.weight.sizes())),
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  // Takes them out of a.
  void keep_largest(const at::Tensor& a, const Runs& runs, const ParameterStep& p,
                    const StepScope& scope) const {
    const auto slot = (scope.step - 1) % options_.window;
    const auto places = runs.largest(a);
    const auto all = places + runs.begins(places.options());
    p.state.load(kPlaces)[slot].copy_(places);
    p.state.load(kValues)[slot].copy_(a.index_select(0, all));
    p.state.load(kSteps)[slot].fill_(scope.step);
    a.index_fill_(0, all, 0.0);
  }

  // Bounds by element, [n].
  at::Tensor by_element(const at::Tensor& bounds, const at::Tensor& like) const {
    return bounds.to(like.scalar_type())
        .view({-1, 1})
        .expand({bounds.size(0), std::min(options_.error_block, like.numel())})
        .reshape({-1})
        .narrow(0, 0, like.numel());
  }

  at::Tensor unit(const ParameterStep& p, const at::Tensor& like) const {
    const auto range =
        by_element(p.state.load(kLargest), like) - by_element(p.state.load(kLeast), like);
    return range / 15.0;
  }

  at::Tensor error(const ParameterStep& p) const {
    const auto like = p.weight.reshape({-1});
    const auto codes = p.state.load(kCodes).to(at::kByte);
    const auto pairs = at::stack({codes.bitwise_and(15), codes.__rshift__(4)}, 1);
    const auto code = pairs.view({-1}).narrow(0, 0, like.numel()).to(like.scalar_type());
    return code.mul_(unit(p, like)).add_(by_element(p.state.load(kLeast), like));
  }

  void set_error(const at::Tensor& a, const ParameterStep& p) const {
    const auto length = std::min(options_.error_block, a.numel());
    const auto runs = filled(a, length).view({-1, length});
    p.state.load(kLeast).copy_(runs.amin(1));
    p.state.load(kLargest).copy_(runs.amax(1));
    const auto steps = unit(p, a);
    const auto code = (a - by_element(p.state.load(kLeast), a)).div_(steps).add_(0.5).floor_();
    const auto bytes = at::where(steps > 0, code.clamp_(0, 15), 0.0).to(at::kByte);
    const auto pairs = filled(bytes, 2).view({-1, 2});
    p.state.load(kCodes).copy_(pairs.select(1, 0) + pairs.select(1, 1) * 16);
  }

  // x to a multiple of `length`, with its last value.
  static at::Tensor filled(const at::Tensor& x, std::int64_t length) {
    const auto missing = (length - x.numel() % length) % length;
    return missing == 0 ? x : at::cat({x, x.narrow(0, x.numel() - 1, 1).expand({missing})});
  }

  at::Tensor average(const Runs& runs, const ParameterStep& p, const StepScope& scope, double beta,
                     double power) const {
    const auto type = p.weight.scalar_type();
    const auto places = p.state.load(kPlaces).to(at::kLong);
    const auto values = p.state.load(kValues).to(type).pow(power);
    const auto ages = scope.step - p.state.load(kSteps).to(at::kDouble);
    const auto weights = at::pow(beta, ages).to(type).view({-1, 1});
    const auto begins = runs.begins(places.options());
    const auto sum = at::zeros({runs.size}, values.options());
    // A set has no place twice, so that the order of sums is that of the sets on every device.
    const auto weighted = values * weights;
    for (std::int64_t i = 0; i < options_.window; ++i) {
      sum.index_add_(0, places[i] + begins, weighted[i]);
    }
    return sum.mul_((1.0 - beta) / (1.0 - std::pow(beta, double(scope.step))));
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_micro_adam() {
  return rule_spec<MicroAdam>(
      {"micro_adam", "Adam over the largest entries of the last gradients, errors in 4 bits"});
}

}  // namespace blockwise
