// Intervals whose errors are not normal: beside a bounded bias, and of squares.
#include <ATen/ATen.h>

#include <cmath>

#include "core/base/linear_operator.hpp"
#include "core/base/random_stream.hpp"
#include "hessian/bounded_bias.hpp"
#include "hessian/row_norm_interval.hpp"
#include "hessian/trace.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor gaussian(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn(sizes, generator, at::kDouble);
}

// Of means of ten normal samples that are too large by `bias` standard errors, where what is said
// is that they may be so by `below`: the share of the intervals that hold the truth.
double covered(double bias, double below) {
  constexpr std::int64_t kTries = 2500, kSamples = 10;
  const double error = 1.0 / std::sqrt(double(kSamples));
  const auto samples = gaussian({kTries, kSamples}, 1);
  const auto means = samples.mean(1) + bias * error;
  const auto errors = samples.std(1) * error;
  int count = 0;
  for (std::int64_t i = 0; i < kTries; ++i) {
    Estimate found{means[i].item<double>(), errors[i].item<double>(), 0, kSamples};
    found.below = below * error;
    const auto interval = found.interval();
    count += interval.low <= 0.0 && 0.0 <= interval.high ? 1 : 0;
  }
  return count / double(kTries);
}

// Mean share over the rows and seeds.
double rows_covered(const at::Tensor& matrix, std::int64_t products) {
  constexpr std::uint64_t kSeeds = 60;
  const DenseOperator a(matrix);
  const auto truth = matrix.square().sum(1);
  double share = 0.0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto interval =
        squared_row_norm_interval(diagonal_and_row_norms(a, {.products = products, .seed = seed}));
    share += interval.low.le(truth)
                 .logical_and(interval.high.ge(truth))
                 .to(at::kDouble)
                 .mean()
                 .item<double>();
  }
  return share / double(kSeeds);
}

}  // namespace

// Four standard deviations of a binomial share of 2500 are 0.0175. Bounds that were only added
// would cover 0.975 at both ends.
TEST_CASE("Intervals beside a bias between bounds cover 95 % at its ends") {
  for (const auto& [bias, below] : {std::pair{0.0, 0.0}, {0.0, 1.0}, {1.0, 1.0}, {4.0, 4.0}}) {
    INFO("below " << below << ", biased by " << bias);
    CHECK(covered(bias, below) == Approx(0.95).margin(0.0175));
  }
  // Between the ends more, but while the bounds are narrow not much.
  const double between = covered(0.5, 1.0);
  CHECK(between >= 0.95 - 0.0175);
  CHECK(between <= 0.97 + 0.0137);
  CHECK(confidence_beside_bounds(0.0, 9.0, 0.95) == 0.95);
  CHECK(confidence_beside_bounds(1e9, 9.0, 0.95) == Approx(0.90).epsilon(1e-4));
}

// Student's interval covers 0.83 with 5 products and 0.86 with 10. Rows share their probes: 60
// seeds of 100 rows are worth 600 and more of independent ones (sd 0.009).
TEST_CASE("Intervals of the norms of rows cover with few products") {
  const auto dense = gaussian({100, 100}, 2);
  const auto symmetric = (dense + dense.t()) / 2.0;
  const auto diagonal_rules = symmetric + at::diag(10.0 * gaussian({100}, 3));
  for (const std::int64_t products : {5, 10, 30}) {
    for (const auto& matrix : {symmetric, diagonal_rules}) {
      const double share = rows_covered(matrix, products);
      INFO(products << " products: " << share);
      CHECK(share >= 0.93 - 0.02);
      CHECK(share <= 0.97 + 0.01);
    }
  }
}

TEST_CASE("Intervals of the norms of rows have no width for a diagonal matrix") {
  const auto values = gaussian({50}, 4);
  const auto interval = squared_row_norm_interval(
      diagonal_and_row_norms(DenseOperator(at::diag(values)), {.products = 3}));
  CHECK(at::allclose(interval.low, values.square(), 1e-5, 0.0));
  CHECK(at::allclose(interval.high, values.square(), 1e-5, 0.0));
}
