// The polynomial steps of Muon: where they take singular values.
#include "optimizers/matrices/newton_schulz.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "optimizers/matrices/orthogonal_momentum.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Approx;

namespace {

// [rows, columns] with the singular values cos and sin of the angle, whose norm is 1.
at::Tensor with_values(double angle, std::int64_t rows, std::int64_t columns) {
  const auto left =
      std::get<0>(at::linalg_qr(at::arange(rows * 2, at::kDouble).sin().view({rows, 2})));
  const auto right =
      std::get<0>(at::linalg_qr(at::arange(columns * 2, at::kDouble).cos().view({columns, 2})));
  const auto values = at::tensor({std::cos(angle), std::sin(angle)}, at::kDouble);
  return left.matmul(values.diag()).matmul(right.t());
}

at::Tensor singular_values(const at::Tensor& x) { return at::linalg_svdvals(x).narrow(0, 0, 2); }

struct Range {
  std::int64_t steps;
  double low, high;
};

}  // namespace

TEST_CASE("Newton-Schulz: singular values of 0.01 to 1 go where the coefficients take them") {
  const std::map<std::string, Range> ranges = {{"jordan", {5, 0.68, 1.135}},
                                               {"dion", {5, 0.977, 1.033}},
                                               {"polar_express", {5, 0.855, 1.145}},
                                               {"quintic", {12, 0.995, 1.0001}}};
  CHECK(polar_steps_names().size() == ranges.size());
  for (const auto& [name, range] : ranges) {
    INFO(name);
    double low = 1.0, high = 1.0;
    for (double small = 0.01; small < 0.7; small *= 1.05) {
      const auto x = with_values(std::asin(small), 6, 4);
      const auto y = orthogonalized(x * 37.0, polar_steps(name), range.steps);
      const auto values = singular_values(y);
      low = std::min(low, values.min().item<double>());
      high = std::max(high, values.max().item<double>());
      // The same singular vectors: y = U f(S) V^T makes y x^T symmetric.
      const auto product = y.matmul(x.t());
      CHECK((product - product.t()).abs().max().item<double>() < 1e-12);
    }
    CHECK(low >= range.low);
    CHECK(high <= range.high);
    // And not within less by a twentieth of its width.
    const double room = 0.05 * (range.high - range.low);
    if (name != "quintic") CHECK((low <= range.low + room && high >= range.high - room));
  }
}

TEST_CASE("Newton-Schulz: wide and tall matrices, further steps and unknown names") {
  const auto x = with_values(0.3, 3, 5);
  const auto& steps = polar_steps("dion");
  const auto y = orthogonalized(x, steps, 5);
  CHECK(at::allclose(orthogonalized(x.t(), steps, 5), y.t(), 0.0, 1e-14));
  // A sixth step is the fifth's polynomial once more.
  const auto values = singular_values(y);
  const auto [a, b, c] = steps.at(5);
  CHECK(a == steps.at(4).a);
  const auto sixth = a * values + b * values.pow(3) + c * values.pow(5);
  CHECK(at::allclose(singular_values(orthogonalized(x, steps, 6)), std::get<0>(sixth.sort(0, true)),
                     0.0, 1e-12));
  CHECK_THAT(input_error([] { polar_steps("newton"); }), Contains("'newton'"));
}

TEST_CASE("Muon's steps grow with the sides as it is said") {
  Parameter wide;
  wide.shape = {4, 64};
  Parameter tall;
  tall.shape = {64, 4};
  const auto scale = [](const char* name, const Parameter& parameter) {
    OrthogonalMomentum momentum;
    set_fields(momentum, {{"rate_scale", name}});
    return momentum.scale(parameter);
  };
  CHECK((scale("original", wide) == 1.0 && scale("original", tall) == 4.0));
  CHECK((scale("spectral", wide) == 0.25 && scale("spectral", tall) == 4.0));
  CHECK((scale("match_rms_adamw", wide) == Approx(1.6) &&
         scale("match_rms_adamw", tall) == Approx(1.6)));
}
