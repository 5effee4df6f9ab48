// fp8_adamw: the formats in which it keeps moments and weights.
#include <ATen/ATen.h>

#include <cmath>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// E4M3 by its definition: sign, 4 bits of exponent with bias 7, 3 behind the point; S.1111.111 is
// no number and there is no infinity.
double e4m3_value(int code) {
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  const double sign = (code & 128) != 0 ? -1.0 : 1.0;
  if (exponent == 15 && mantissa == 7) return std::nan("");
  if (exponent == 0) return sign * mantissa * std::exp2(-9.0);
  return sign * (1.0 + mantissa / 8.0) * std::exp2(exponent - 7.0);
}

at::Tensor to_e4m3(const at::Tensor& x) { return x.to(at::kFloat8_e4m3fn).view(at::kByte); }

struct Run {
  explicit Run(nlohmann::json fields = nlohmann::json::object())
      : store(ParameterLayout({parameter()}), at::kCPU) {
    fields["rule"] = "fp8_adamw";
    fields["gradient_clip"] = 0.0;
    fill_parameters(store);
    optimizer.emplace(optimizer_config(std::move(fields)), store);
  }
  static Parameter parameter() {
    Parameter made;
    made.name = "w";
    made.shape = {6, 10};
    return made;
  }
  StepReport step(const at::Tensor& gradient) {
    store.gradients().copy_(gradient.reshape({-1}));
    return optimizer->step(1e-2);
  }
  at::Tensor state(std::size_t k) const { return optimizer->state().of(0).load(k); }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

at::Tensor draw(std::uint32_t stream) {
  return (formula_values(stream, 60) * at::exp2(-at::arange(60, at::kDouble).remainder(13)))
      .to(at::kFloat);
}

}  // namespace

TEST_CASE("fp8_adamw: LibTorch's E4M3 is the format, all 256 codes") {
  const auto codes = at::arange(256, at::kInt).to(at::kByte);
  const auto values = codes.view(at::kFloat8_e4m3fn).to(at::kDouble);
  for (int code = 0; code < 256; ++code) {
    const double value = values[code].item<double>();
    INFO(code);
    if (std::isnan(e4m3_value(code))) {
      CHECK(std::isnan(value));
    } else {
      CHECK(value == e4m3_value(code));
      CHECK(std::signbit(value) == std::signbit(e4m3_value(code)));
    }
  }
  const auto numbers = at::cat({codes.narrow(0, 0, 127), codes.narrow(0, 128, 127)});
  CHECK(at::equal(to_e4m3(numbers.view(at::kFloat8_e4m3fn).to(at::kFloat)), numbers));
}

TEST_CASE("fp8_adamw: E4M3 rounds to nearest, ties to even, between all neighbours") {
  for (int code = 0; code < 126; ++code) {
    const float low = float(e4m3_value(code)), high = float(e4m3_value(code + 1));
    const float middle = low + (high - low) / 2.0f;  // exact: one bit more
    const auto x = at::tensor({middle, std::nextafter(middle, low), std::nextafter(middle, high)});
    const int even = code % 2 == 0 ? code : code + 1;
    INFO(code);
    CHECK(at::equal(to_e4m3(x), at::tensor({even, code, code + 1}, at::kByte)));
    CHECK(at::equal(to_e4m3(-x), at::tensor({even + 128, code + 128, code + 129}, at::kByte)));
  }
}

TEST_CASE("fp8_adamw: moments are the nearest codes of the largest power of two that fits") {
  Run run;
  const auto g = draw(3);
  run.step(g);
  const auto m = g.to(at::kDouble) * 0.1, v = g.to(at::kDouble).square() * 0.05;
  const double m_scale = run.state(2).item<double>(), v_scale = run.state(3).item<double>();
  CHECK(m_scale == std::exp2(std::floor(std::log2(448.0 / m.abs().max().item<double>()))));
  CHECK(v_scale == std::exp2(std::floor(std::log2(65504.0 / v.max().item<double>()))));
  const auto kept = run.state(0).view(at::kFloat8_e4m3fn).to(at::kDouble).view({-1}) / m_scale;
  // Half of a step of 1/8, or of the subnormals' 2^-9, and float32's rounding before it.
  const auto bound =
      at::maximum(m.abs() / 16.0, at::full({}, std::exp2(-10.0) / m_scale, m.options()));
  CHECK(((kept - m).abs() <= bound * (1.0 + 1e-6)).all().item<bool>());
  CHECK(((run.state(1).to(at::kDouble).view({-1}) / v_scale - v).abs() <=
         v * std::exp2(-11.0) + std::exp2(-25.0) / v_scale)
            .all()
            .item<bool>());
  CHECK(run.state(0).scalar_type() == at::kByte);
  CHECK(run.state(1).scalar_type() == at::kHalf);
}

TEST_CASE("fp8_adamw: weights are what fp16 with a scale holds, unless master is float32") {
  Run half, whole(nlohmann::json{{"master", "float32"}});
  for (int t = 0; t < 3; ++t) {
    half.step(draw(std::uint32_t(3 + t)));
    whole.step(draw(std::uint32_t(3 + t)));
  }
  const auto fits = [](const at::Tensor& w) {
    const double scale = std::exp2(std::floor(std::log2(65504.0 / w.abs().max().item<double>())));
    return at::equal((w * scale).to(at::kHalf).to(at::kFloat) / scale, w);
  };
  CHECK(fits(half.store.parameters()));
  CHECK_FALSE(fits(whole.store.parameters()));
  const auto apart = (half.store.parameters() - whole.store.parameters()).abs();
  // Three roundings of 2^-11 of a weight, and what E4M3 makes of the moments stays the same.
  const auto bound = whole.store.parameters().abs() * std::exp2(-11.0) * 3.5 + 1e-7;
  CHECK((apart <= bound).all().item<bool>());
}

TEST_CASE("fp8_adamw: zeros keep their scale, and a resumed run has the same bits") {
  Run through(nlohmann::json{{"weight_decay", 0.1}});
  through.step(at::zeros({6, 10}));
  CHECK(through.state(2).item<double>() == 1.0);
  through.step(draw(3));
  Run resumed(nlohmann::json{{"weight_decay", 0.1}});
  resumed.store.parameters().copy_(through.store.parameters());
  resumed.optimizer->load_state(2, through.optimizer->state().by_parameter());
  for (int t = 0; t < 2; ++t) {
    through.step(draw(std::uint32_t(5 + t)));
    resumed.step(draw(std::uint32_t(5 + t)));
  }
  CHECK(at::equal(through.store.parameters(), resumed.store.parameters()));
}
