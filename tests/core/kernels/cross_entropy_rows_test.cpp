// Against loops in double, on every instruction set that the machine has.
#include "core/kernels/cross_entropy_rows.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/base/float_bits.hpp"
#include "tests/core/kernels/every_target.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Slopes {
  double loss;
  std::vector<double> slope;
};

Slopes by_loops(const std::vector<float>& z, std::int64_t target, double weight) {
  double most = -kInfinity, sum = 0.0;
  for (const double x : z) most = std::max(most, x);
  for (const double x : z) sum += std::exp(x - most);
  Slopes result{std::log(sum) + most - z[std::size_t(target)], {}};
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double p = std::exp(z[i] - most) / sum;
    result.slope.push_back(weight * (p - (std::int64_t(i) == target ? 1.0 : 0.0)));
  }
  return result;
}

std::vector<float> random_scores(std::size_t classes, float scale, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> z(classes);
  // Numbers of bfloat16, so that both kernels see the same.
  for (auto& x : z) x = float_of(bits_of(normal(generator)) & 0xFFFF0000U);
  return z;
}

Slopes found_in_float(std::vector<float> z, std::int64_t target, float weight) {
  const auto loss = cross_entropy_row(z.data(), std::int64_t(z.size()), target, weight, z.data());
  return {loss, {z.begin(), z.end()}};
}

Slopes found_in_bf16(const std::vector<float>& z, std::int64_t target, float weight) {
  std::vector<std::uint16_t> bits;
  for (const float x : z) bits.push_back(std::uint16_t(bits_of(x) >> 16));
  Slopes found{cross_entropy_row(bits.data(), std::int64_t(z.size()), target, weight, bits.data()),
               {}};
  for (const auto b : bits) found.slope.push_back(double(float_of(std::uint32_t(b) << 16)));
  return found;
}

// Sums of 1024 float32 exponentials are off by some 64 additions of half a ULP, and an exponential
// by 2 ULP: 2e-6 of a probability covers both, and the shift of the largest exponent by its own
// rounding. Slopes in bfloat16 are rounded once more.
void check_row(const std::vector<float>& z, std::int64_t target) {
  const float weight = 0.25F;
  const auto expected = by_loops(z, target, weight);
  const auto exact = found_in_float(z, target, weight), rounded = found_in_bf16(z, target, weight);
  CHECK(std::abs(exact.loss - expected.loss) < 2e-6 * std::max(1.0, expected.loss));
  CHECK(exact.loss == rounded.loss);
  double worst = 0.0, worst_rounded = 0.0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double size = std::abs(expected.slope[i]) + 1e-30;
    worst = std::max(worst, std::abs(exact.slope[i] - expected.slope[i]) / size);
    worst_rounded = std::max(worst_rounded, std::abs(rounded.slope[i] - expected.slope[i]) / size);
  }
  CHECK(worst < 1e-5);
  CHECK(worst_rounded < 0x1p-8 + 1e-5);
}

}  // namespace

TEST_CASE("A row's loss and slopes equal loops in double, whatever its length") {
  on_every_target([] {
    for (std::size_t classes = 1; classes <= 70; ++classes) {
      const auto z = random_scores(classes, 3.0F, unsigned(classes));
      for (const auto target : {std::int64_t(0), std::int64_t(classes / 2)}) {
        INFO(classes << " classes, target " << target);
        check_row(z, target);
      }
    }
    check_row(random_scores(50304, 1.0F, 1), 50303);
    check_row(random_scores(5000, 10.0F, 2), 17);
  });
}

TEST_CASE("A row that is one large score, or has -inf, keeps its closed form") {
  on_every_target([] {
    std::vector<float> z(33, -1e30F);
    z[5] = 1e30F;
    CHECK(found_in_float(z, 5, 1.0F).loss == 0.0);
    CHECK(found_in_float(z, 5, 1.0F).slope == std::vector<double>(33, 0.0));
    const auto wrong = found_in_float(z, 32, 1.0F);
    CHECK(wrong.loss == Approx(2e30));
    CHECK(wrong.slope[5] == Approx(1.0));
    CHECK(wrong.slope[32] == Approx(-1.0));
    std::vector<float> masked(20, -kInfinity);
    masked[1] = masked[18] = 0.5F;
    const auto found = found_in_bf16(masked, 18, 1.0F);
    CHECK(found.loss == Approx(std::log(2.0)));
    CHECK(found.slope[0] == 0.0);
    CHECK(found.slope[1] == Approx(0.5));
    CHECK(found.slope[18] == Approx(-0.5));
  });
}

TEST_CASE("A NaN or an infinite score anywhere in a row is a loss of NaN, and no target is none") {
  on_every_target([] {
    for (const float bad : {kNan, kInfinity}) {
      for (std::size_t at = 0; at < 37; ++at) {
        auto z = random_scores(37, 1.0F, 3);
        z[at] = bad;
        INFO(bad << " at " << at);
        for (const auto& found : {found_in_float(z, 2, 1.0F), found_in_bf16(z, 2, 1.0F)}) {
          CHECK(std::isnan(found.loss));
          CHECK(std::isnan(found.slope.front()));
          CHECK(std::isnan(found.slope.back()));
        }
        const auto ignored = found_in_float(z, -100, 1.0F);
        CHECK(ignored.loss == 0.0);
        CHECK(ignored.slope == std::vector<double>(37, 0.0));
      }
    }
  });
}
