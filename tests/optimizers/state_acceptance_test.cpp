// State in 8 bits against what a published package asks of its own (FlashOptim's test suite, as
// thresholds), and past it: at scales from 1e-10 to 1e4, with second moments that never become 0.
// Its other checks are elsewhere: all mantissas of residuals in master_weights_test.cpp, resuming,
// here to the bit, in state_format_test.cpp, and state that another format saved there, too.
#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/state/state_codec.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

const char* const kFormats[] = {"dynamic_8bit", "companded_8bit"};

at::Tensor round_trip(const StateCodec& codec, const at::Tensor& values) {
  std::vector<at::Tensor> stored;
  for (const auto& part : codec.parts(values.numel())) {
    stored.push_back(at::zeros({part.size}, part.type));
  }
  codec.encode(values, stored, 1);
  const auto decoded = at::empty_like(values);
  codec.decode(stored, decoded);
  return decoded;
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  const auto x = a.to(at::kDouble), y = b.to(at::kDouble);
  return (at::dot(x, y) / (x.norm() * y.norm())).item<double>();
}

double mean_error(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().to(at::kDouble).mean().item<double>();
}

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

// Random ones, and such whose size changes with every element, of this size.
std::vector<at::Tensor> contents(std::int64_t n, StateUse use, double scale) {
  const auto even = formula_values(3, n).to(at::kDouble);
  const auto mixed = even * at::exp2(-at::arange(n, at::kDouble).remainder(5));
  std::vector<at::Tensor> values;
  for (auto x : {even, mixed}) {
    x = x * scale;
    values.push_back((use == StateUse::average ? x : x * x).to(at::kFloat));
  }
  return values;
}

template <typename Check>
void for_every_moment(Check check) {
  for (const auto* format : kFormats) {
    for (const auto use : {StateUse::average, StateUse::non_negative}) {
      INFO(format << (use == StateUse::average ? ", m" : ", v"));
      check(*make_state_codec(format, {"state", {1}, use}), use);
    }
  }
}

// Least squares ||A x - b||^2 / 2 over one matrix of weights.
class LeastSquares {
 public:
  LeastSquares(const std::string& rule, const std::string& format) : store_(layout(), at::kCPU) {
    nlohmann::json fields = {{"rule", rule}, {"weight_decay", 0.0}, {"gradient_clip", 0.0}};
    if (format != "fp32") {
      fields["state"] = {{"first_moments", format}, {"second_moments", format}, {"smallest", 1}};
    }
    optimizer_.emplace(optimizer_config(fields), store_, 1);
    a_ = formula_values(5, 96 * 64).to(at::kFloat).view({96, 64}) / 8.0;
    b_ = formula_values(6, 96 * 48).to(at::kFloat).view({96, 48});
  }
  double step(double rate) {
    const at::NoGradGuard no_grad;
    const auto rest = a_.matmul(weights().t()) - b_;
    store_.gradients().copy_(rest.t().matmul(a_).flatten());
    optimizer_->step(rate);
    return 0.5 * rest.square().sum().item<double>();
  }
  at::Tensor weights() const { return store_.parameters().view({48, 64}); }
  // Values of every moment.
  std::vector<at::Tensor> moments() const {
    const auto& state = optimizer_->state();
    const auto specs = optimizer_->rules().of(0).rule->state(store_.layout().parameters()[0],
                                                             optimizer_->partition().tensors()[0]);
    std::vector<at::Tensor> values;
    for (std::size_t k = 0; k < specs.size(); ++k) {
      values.push_back(at::empty({specs[k].size()}));
      if (state.codec(0, k) == nullptr) {
        values.back().copy_(state.of(0).load(k).flatten());
      } else {
        state.decode(0, k, 0, values.back());
      }
    }
    return values;
  }
  Optimizer& optimizer() { return *optimizer_; }
  ParameterStore& store() { return store_; }

 private:
  static ParameterLayout layout() {
    Parameter matrix;
    matrix.name = "w";
    matrix.shape = {48, 64};
    return ParameterLayout({matrix});
  }
  ParameterStore store_;
  std::optional<Optimizer> optimizer_;
  at::Tensor a_, b_;
};

struct RuleRate {
  const char* rule;
  double rate;
};
constexpr RuleRate kRules[] = {
    {"adamw", 1e-2}, {"adam_mini", 1e-2}, {"lion", 1e-2}, {"sgd_momentum", 1e-2}, {"nadamw", 1e-2}};

template <typename Check>
void for_every_rule(Check check) {
  for (const auto& [rule, rate] : kRules) {
    for (const auto* format : kFormats) {
      INFO(rule << " in " << format);
      check(rule, rate, format);
    }
  }
}

}  // namespace

TEST_CASE("8-bit state: cosine above 0.9999, mean error below 1.6 of the largest over 255") {
  for_every_moment([](const StateCodec& codec, StateUse use) {
    for (const double scale : {1e-10, 1e-4, 0.01, 1.0, 1e4}) {
      for (const std::int64_t n : {1, 32, 33, 1000, 4096, 65536}) {
        for (const auto& exact : contents(n, use, scale)) {
          INFO("scale " << scale << ", " << n << " values");
          const auto kept = round_trip(codec, exact);
          CHECK(cosine(kept, exact) > 0.9999);
          CHECK(mean_error(kept, exact) <= 1.6 * largest(exact) / 255.0);
          if (use == StateUse::non_negative) CHECK(kept.gt(0).equal(exact.gt(0)));
        }
      }
    }
  });
}

TEST_CASE("8-bit state: a short last block is as good as the others, its largest value is kept") {
  for_every_moment([](const StateCodec& codec, StateUse use) {
    for (const std::int64_t n : {33, 63, 257, 300, 511, 1025, 4097}) {
      INFO(n);
      const auto exact = contents(n, use, 1.0)[0];
      const auto error = (round_trip(codec, exact) - exact).abs();
      const std::int64_t block = n < 257 ? 32 : 256, tail = n % block == 0 ? block : n % block;
      const auto of_tail = error.narrow(0, n - tail, tail), inner = error.narrow(0, 0, n - tail);
      // Half a step of the widest part of either map, of the block's largest value: 1/64.
      CHECK(largest(of_tail) <= std::max(2.0 * largest(inner), largest(exact) / 64.0));
      const auto place = exact.abs().argmax().item<std::int64_t>();
      // Scales of 16 bits are rounded up, by 2^-7 at most; a v is the square of what has one.
      CHECK(error[place].item<double>() <= 0.0157 * largest(exact));
    }
  });
}

TEST_CASE("8-bit state: ten steps are those of float32, to a cosine of 0.99 and an NMSE of 0.01") {
  for_every_rule([](const char* rule, double rate, const char* format) {
    LeastSquares exact(rule, "fp32"), coded(rule, format);
    for (int step = 0; step < 10; ++step) {
      exact.step(rate);
      coded.step(rate);
    }
    // The signs of Lion turn where the two sides of a zero are a code apart.
    const bool signs = std::string(rule) == "lion";
    const auto a = exact.weights().flatten(), b = coded.weights().flatten();
    CHECK(cosine(a, b) > (signs ? 0.98 : 0.999));
    CHECK(((a - b).square().sum() / a.square().sum()).item<double>() < (signs ? 0.04 : 0.002));
  });
}

TEST_CASE("8-bit state: least squares fall at every step, and every moment changes") {
  for_every_rule([](const char* rule, double rate, const char* format) {
    LeastSquares problem(rule, format);
    double before = problem.step(0.1 * rate);
    for (int step = 0; step < 10; ++step) {
      const auto old = problem.moments();
      const double loss = problem.step(0.1 * rate);
      CHECK(loss < before);
      before = loss;
      const auto now = problem.moments();
      for (std::size_t k = 0; k < now.size(); ++k) CHECK_FALSE(at::equal(now[k], old[k]));
    }
  });
}

TEST_CASE("8-bit state: without gradients moments stay exactly 0, and so do the weights' bits") {
  for_every_rule([](const char* rule, double rate, const char* format) {
    LeastSquares problem(rule, format);
    fill_parameters(problem.store());
    const auto before = problem.weights().clone();
    problem.store().gradients().zero_();
    for (int step = 0; step < 10; ++step) problem.optimizer().step(rate);
    CHECK(at::equal(problem.weights(), before));
    for (const auto& moment : problem.moments()) CHECK(moment.eq(0).all().item<bool>());
  });
}
