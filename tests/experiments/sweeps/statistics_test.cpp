#include "core/base/sample_summary.hpp"

#include <cmath>
#include <numbers>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Approx;

namespace {

const std::vector<double> kThree = {1.8321, 1.8402, 1.8277};
const std::vector<double> kFive = {2.5, 2.75, 2.25, 3.0, 2.625};

auto near(double value) { return Approx(value).epsilon(1e-12); }

}  // namespace

// Expected values: SciPy 1.17.1, scipy.stats.tstd(x), scipy.stats.t.ppf(0.975, n - 1) * sem(x).
TEST_CASE("A summary agrees with SciPy") {
  const auto three = summarize(kThree);
  CHECK(three.count == 3);
  CHECK(three.mean == near(1.8333333333333333));
  CHECK(*three.standard_deviation == near(0.006340609855000785));
  CHECK(*three.half_width == near(0.015750948056303244));
  const auto five = summarize(kFive);
  CHECK(five.mean == near(2.625));
  CHECK(*five.standard_deviation == near(0.2795084971874737));
  CHECK(*five.half_width == near(0.3470556381497242));
}

// For one degree of freedom Student's t is Cauchy's distribution: quantile tan(pi (q - 1/2)).
TEST_CASE("A summary of two values has the closed form") {
  const auto two = summarize(std::vector<double>{1.0, 3.0});
  CHECK(*two.standard_deviation == near(std::sqrt(2.0)));
  CHECK(*two.half_width == near(std::tan(std::numbers::pi * 0.475)));
}

TEST_CASE("A summary keeps its digits on a large offset") {
  const auto shifted = summarize(std::vector<double>{1e9 + 1, 1e9 + 2, 1e9 + 4});
  CHECK(*shifted.standard_deviation == near(std::sqrt(7.0 / 3.0)));
}

TEST_CASE("One value has no spread, equal values have none") {
  const auto one = summarize(std::vector<double>{4.0});
  CHECK((one.count == 1 && one.mean == 4.0 && !one.standard_deviation && !one.half_width));
  const auto equal = summarize(std::vector<double>{0.1, 0.1, 0.1});
  CHECK((equal.mean == 0.1 && *equal.standard_deviation == 0.0 && *equal.half_width == 0.0));
  CHECK_THROWS_AS(summarize({}), InvariantError);
}

// Expected values: SciPy 1.17.1, scipy.stats.ttest_rel(a, b), its pvalue and half of the width of
// its confidence_interval(); three samples: statistic -5.449296262858353.
TEST_CASE("A paired test agrees with SciPy") {
  const auto three = paired_t_test(kThree, std::vector<double>{1.8500, 1.8495, 1.8411});
  CHECK(three.difference.mean == near(-0.01353333333333325));
  CHECK(*three.difference.half_width == near(0.010685642842757158));
  CHECK(*three.p_value == near(0.03206496834175041));
  const auto five = paired_t_test(kFive, std::vector<double>{2.4, 2.8, 2.3, 2.9, 2.5});
  CHECK(five.difference.mean == near(0.04500000000000011));
  CHECK(*five.difference.half_width == near(0.10842364741521833));
  CHECK(*five.p_value == near(0.3133664955648917));
}

// t = 1 with one degree of freedom: p = 1 - 2 atan(1) / pi = 1/2.
TEST_CASE("A paired test of two pairs has the closed form") {
  const std::vector<double> zero = {0.0, 0.0};
  CHECK(*paired_t_test(std::vector<double>{0.0, 2.0}, zero).p_value == near(0.5));
  CHECK(*paired_t_test(std::vector<double>{1.0, -1.0}, zero).p_value == near(1.0));
}

TEST_CASE("A paired test of equal differences, of one pair, of no pairs") {
  const std::vector<double> a = {1.5, 2.5, 3.5};
  CHECK(*paired_t_test(a, a).p_value == 1.0);
  CHECK(*paired_t_test(a, std::vector<double>{1.0, 2.0, 3.0}).p_value == 0.0);
  const auto one = paired_t_test(std::vector<double>{2.0}, std::vector<double>{1.5});
  CHECK((one.difference.mean == 0.5 && !one.difference.half_width && !one.p_value));
  CHECK_THROWS_AS(paired_t_test({}, {}), InvariantError);
  CHECK_THROWS_AS(paired_t_test(a, std::vector<double>{1.0}), InvariantError);
}

TEST_CASE("The median of odd and even counts") {
  CHECK(median({5.0, 1.0, 3.0}) == 3.0);
  CHECK(median({4.0, 1.0, 3.0, 2.0}) == 2.5);
  CHECK_THROWS_AS(median({}), InvariantError);
}
