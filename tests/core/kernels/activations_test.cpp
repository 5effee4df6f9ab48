// Against the formulas in double, on every instruction set that the machine has.
#include "core/kernels/activations.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/base/float_bits.hpp"
#include "core/kernels/rotary_rows.hpp"
#include "tests/core/kernels/every_target.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Curve kCurves[] = {Curve::silu, Curve::gelu_tanh};

struct Expected {
  double value, slope;
};

Expected expected(Curve curve, double x) {
  const double c = std::sqrt(2.0 / std::acos(-1.0)), a = 0.044715;
  const double u = curve == Curve::silu ? x : 2.0 * c * (x + a * x * x * x);
  const double inner = curve == Curve::silu ? 1.0 : 2.0 * c * (1.0 + 3.0 * a * x * x);
  const double s = 1.0 / (1.0 + std::exp(-u));
  return {x * s, s + x * s * (1.0 - s) * inner};
}

// Ordinary sizes, both tails, and the neighbourhood of 0; numbers of bfloat16.
std::vector<float> arguments(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::vector<float> x;
  for (std::size_t i = 0; i < n; ++i) {
    const float scale = i % 5 == 0 ? 1e-3F : i % 5 == 1 ? 4.0F : 1.0F;
    x.push_back(float_of(bits_of(scale * normal(generator)) & 0xFFFF0000U));
  }
  return x;
}

std::vector<std::uint16_t> as_bf16(const std::vector<float>& x) {
  std::vector<std::uint16_t> bits;
  for (const float v : x) bits.push_back(std::uint16_t(bits_of(v) >> 16));
  return bits;
}

double value_of(float x) { return x; }
double value_of(std::uint16_t x) { return float_of(std::uint32_t(x) << 16); }

// The argument u of the logistic is off by some ULP of itself, up to 40 here, and with it the
// result by as much relatively: 40 x 4 x 2^-24 = 1e-5. Below 1e-30 float32 underflows.
template <typename T>
void check_close(const T& found, double wanted, double rounding) {
  CHECK(std::abs(value_of(found) - wanted) <= (rounding + 1e-5) * std::abs(wanted) + 1e-6);
}

template <typename T>
void check_curve(Curve curve, const std::vector<T>& x, double rounding) {
  const auto n = std::int64_t(x.size());
  const std::vector<T> z(x.rbegin(), x.rend());
  std::vector<T> y(x.size()), slope(x.size()), gated(x.size()), dx(x.size()), dz(x.size());
  activate(curve, x.data(), n, y.data());
  activation_slope(curve, x.data(), z.data(), n, slope.data());
  gate(curve, x.data(), z.data(), n, gated.data());
  gate_slopes(curve, GateSlopes<T>{x.data(), z.data(), x.data(), dx.data(), dz.data()}, n);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto e = expected(curve, value_of(x[i]));
    const double v = value_of(x[i]), w = value_of(z[i]);
    INFO("element " << i << " of " << n << ", x = " << v);
    check_close(y[i], e.value, rounding);
    check_close(slope[i], e.slope * w, rounding);
    check_close(gated[i], e.value * w, rounding);
    check_close(dx[i], e.slope * w * v, rounding);
    check_close(dz[i], e.value * v, rounding);
  }
}

}  // namespace

TEST_CASE("Activations, gates and their slopes are the formulas, whatever the length") {
  on_every_target([] {
    for (const auto curve : kCurves) {
      for (std::size_t n = 1; n <= 67; n += n < 20 ? 1 : 7) {
        const auto x = arguments(n, unsigned(n));
        check_curve(curve, x, 0.0);
        check_curve(curve, as_bf16(x), 0x1p-8);
      }
    }
  });
}

TEST_CASE("Activations keep a NaN and their limits at both ends") {
  on_every_target([] {
    for (const auto curve : kCurves) {
      std::vector<float> x(19, 100.0F), y(19), slope(19);
      x[3] = std::numeric_limits<float>::quiet_NaN();
      x[17] = -200.0F;
      x[18] = kInfinity;
      activate(curve, x.data(), 19, y.data());
      const std::vector<float> ones(19, 1.0F);
      activation_slope(curve, x.data(), ones.data(), 19, slope.data());
      CHECK(std::isnan(y[3]));
      CHECK(std::isnan(slope[3]));
      CHECK(y[0] == 100.0F);
      CHECK(slope[0] == 1.0F);
      CHECK(std::abs(y[17]) < 1e-30F);
      CHECK(std::abs(slope[17]) < 1e-30F);
      CHECK(y[18] == kInfinity);
    }
  });
}

namespace {

// One head of `rows` rows of 2 half, a column of other numbers between rows.
template <typename T>
void check_rotation(const std::vector<T>& x, std::int64_t rows, std::int64_t half,
                    double rounding) {
  const auto width = 2 * half, step = width + 1;
  std::vector<float> c, s;
  for (std::int64_t i = 0; i < rows * width; ++i) {
    const float angle = 0.1F * float(i / width) + 0.3F * float(i % half);
    c.push_back(std::cos(angle));
    s.push_back(std::sin(angle));
  }
  std::vector<float> negated;
  for (const float sine : s) negated.push_back(-sine);
  std::vector<T> y(x.size()), back(x.size());
  rotate_rows(RotaryRows<T>{x.data(), step, y.data(), step, c.data(), s.data(), rows, half});
  rotate_rows(
      RotaryRows<T>{y.data(), step, back.data(), step, c.data(), negated.data(), rows, half});
  const auto close = [&](T found, double wanted) {
    CHECK(std::abs(value_of(found) - wanted) <= rounding * std::abs(wanted) + 1e-5);
  };
  for (std::int64_t row = 0; row < rows; ++row) {
    CHECK(value_of(y[std::size_t(row * step + width)]) == 0.0);
    for (std::int64_t i = 0; i < half; ++i) {
      const auto at = [&](std::int64_t k) { return std::size_t(row * step + k); };
      const auto t = [&](std::int64_t k) { return std::size_t(row * width + k); };
      const double a = value_of(x[at(i)]), b = value_of(x[at(i + half)]);
      close(y[at(i)], a * c[t(i)] - b * s[t(i)]);
      close(y[at(i + half)], b * c[t(i + half)] + a * s[t(i + half)]);
      // There and back, in bfloat16 with a rounding of numbers as large as both.
      const double lost = 2.0 * rounding * (std::abs(a) + std::abs(b)) + 1e-5;
      CHECK(std::abs(value_of(back[at(i)]) - a) <= lost);
      CHECK(std::abs(value_of(back[at(i + half)]) - b) <= lost);
    }
  }
}

}  // namespace

TEST_CASE("Rotary rows are turned by their angles, and back by the negated ones") {
  on_every_target([] {
    for (const std::int64_t half : {1, 3, 8, 12, 16, 33}) {
      const auto x = arguments(std::size_t(5 * (2 * half + 1)), unsigned(half));
      check_rotation(x, 5, half, 0.0);
      check_rotation(as_bf16(x), 5, half, 0x1p-8);
    }
  });
}
