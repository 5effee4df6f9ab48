#include "experiments/sweeps/holm.hpp"

#include <random>

#include "tests/support/catch.hpp"

namespace blockwise {
namespace {

TEST_CASE("Holm's correction of four p-values, by hand") {
  // Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; never falling.
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005};
  const std::vector<double> expected = {0.03, 0.06, 0.06, 0.02};
  const auto adjusted = holm_adjusted(p);
  REQUIRE(adjusted.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(adjusted[i] == testing::Approx(expected[i]));
}

TEST_CASE("Holm's correction changes nothing alone, and ends at 1") {
  CHECK(holm_adjusted(std::vector<double>{0.04}) == std::vector<double>{0.04});
  CHECK(holm_adjusted(std::vector<double>{0.9, 0.8}) == std::vector<double>{1.0, 1.0});
  CHECK(holm_adjusted({}).empty());
}

TEST_CASE("Without any difference, Holm finds one in at most 5 of 100 families") {
  // 8 independent comparisons. Uncorrected, 1 - 0.95^8 = 34 % of the families have a p below 0.05;
  // corrected, 1 - (1 - 0.05 / 8)^8 = 4.9 %. Of 4000 families that is 196 +- 14; 5 deviations
  // are 70.
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform;
  int families = 0;
  for (int i = 0; i < 4000; ++i) {
    std::vector<double> p(8);
    for (auto& value : p) value = uniform(random);
    const auto adjusted = holm_adjusted(p);
    families += std::ranges::any_of(adjusted, [](double a) { return a <= 0.05; }) ? 1 : 0;
  }
  CHECK(families > 196 - 70);
  CHECK(families < 196 + 70);
}

}  // namespace
}  // namespace blockwise
