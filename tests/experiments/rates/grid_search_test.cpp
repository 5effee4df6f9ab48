// One number on a grid, where the losses are parabolas whose lowest point is known.
#include "experiments/rates/grid_search.hpp"

#include <fmt/format.h>

#include <cmath>

#include "tests/support/catch.hpp"
#include "tests/support/formula_oracle.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Result = PairedTrials::Result;
using Loss = std::function<TrialLoss(double value, std::int64_t seed)>;

const std::vector<double> kGrid = {0.25, 0.5, 1.0, 2.0, 4.0};

struct Search {
  FormulaOracle oracle;
  Loss loss;
  TrialLimits limits{100, 3};

  GridOutcome run() {
    PairedTrials trials(oracle, limits);
    const auto baseline = oracle.arm("baseline", [](std::int64_t) { return 50.0; });
    return search_grid(trials, baseline, kGrid, [this](double value) {
      return oracle.arm(fmt::format("{:.9g}", value),
                        [this, value](std::int64_t seed) { return loss(value, seed); });
    });
  }
};

// (log value - log best)^2, and something that all values have in common on a seed.
double parabola(double value, double best, std::int64_t seed = 0) {
  return std::pow(std::log(value / best), 2) + 0.3 * static_cast<double>(seed);
}

}  // namespace

TEST_CASE("Grid search: of a parabola it finds the lowest point between the grid's") {
  Search search{{}, [](double v, std::int64_t seed) { return parabola(v, 1.2, seed); }};
  const auto found = search.run();
  CHECK(found.result == Result::measured);
  CHECK(found.best == 1.0);
  CHECK(!found.at_end);
  CHECK(found.value.value == Approx(1.2));
  CHECK(found.value.low == Approx(1.2));
  CHECK(found.value.high == Approx(1.2));
  const double mean = parabola(1.0, 1.2) + 0.3 * 2.0 - 50.0;  // of the seeds 1, 2 and 3
  CHECK(found.to_baseline.difference.mean == Approx(mean));
  // Five points and the baseline with one seed, the better three with two, then all three.
  CHECK(search.oracle.answered().size() == 6 + 4 + 4);
}

TEST_CASE("Grid search: the interval is Student's over the seeds' own lowest points") {
  Search search{{}, [](double v, std::int64_t seed) {
                  return parabola(v, 1.2 * std::exp(0.1 * static_cast<double>(seed - 2)));
                }};
  const auto found = search.run();
  CHECK(found.value.value == Approx(1.2));
  CHECK(found.value.high / found.value.value ==
        Approx(std::exp(4.302653 * 0.1 / std::sqrt(3.0))).epsilon(1e-6));  // t of two degrees
}

TEST_CASE("Grid search: behind an end the grid grows, by a bounded number of points") {
  Search near{{}, [](double v, std::int64_t) { return parabola(v, 20.0); }};
  const auto found = near.run();
  CHECK(found.best == Approx(16.0));
  CHECK(found.value.value == Approx(20.0));
  CHECK(!found.at_end);
  Search below{{}, [](double v, std::int64_t) { return parabola(v, 0.05); }};
  CHECK(below.run().value.value == Approx(0.05));
  Search far{{}, [](double v, std::int64_t) { return parabola(v, 1e6); }};
  const auto last = far.run();
  CHECK(last.at_end);
  CHECK(last.best == Approx(4.0 * std::pow(2.0, kMostAddedPoints)));
  CHECK(last.value.low == Approx(last.best / 2.0));
  CHECK(last.value.high == Approx(last.best * 2.0));
}

TEST_CASE("Grid search: between two equal points lies the lowest one, among equals the first") {
  // Of powers of two, so that both losses are the same to the bit.
  Search middle{{}, [](double v, std::int64_t) { return std::pow(std::log2(v) - 0.5, 2); }};
  const auto found = middle.run();
  CHECK(found.best == 1.0);
  CHECK(found.value.value == Approx(std::sqrt(2.0)));
  Search flat{{}, [](double, std::int64_t) { return 1.0; }};
  const auto any = flat.run();
  CHECK(any.best == kGrid.front());
  CHECK(any.value.value == Approx(kGrid.front()));
}

TEST_CASE("Grid search: beside a point that diverged the best one has no parabola") {
  Search search{{}, [](double v, std::int64_t seed) -> TrialLoss {
                  if (v > 1.5 && seed == 3) return std::nullopt;
                  return parabola(v, 1.2, seed);
                }};
  const auto found = search.run();
  CHECK(found.best == 1.0);
  CHECK(found.value.value == 1.0);
  CHECK(found.value.low == Approx(0.5));
  CHECK(found.value.high == Approx(2.0));
}

TEST_CASE("Grid search: where nothing but one value converges, that is the best") {
  Search search{{}, [](double v, std::int64_t seed) -> TrialLoss {
                  if (v != 2.0) return std::nullopt;
                  return 0.3 * static_cast<double>(seed);
                }};
  CHECK(search.run().best == 2.0);
}

TEST_CASE("Grid search: stopped anywhere it goes on from the kept answers, to the same end") {
  const auto start = [] {
    return Search{{}, [](double v, std::int64_t seed) { return parabola(v, 20.0, seed); }};
  };
  auto undisturbed = start();
  const auto whole = undisturbed.run();
  const auto all = std::ssize(undisturbed.oracle.answered());
  for (std::int64_t stop = 0; stop < all; ++stop) {
    auto search = start();
    search.oracle.stop_after(stop);
    CHECK(search.run().result == Result::stopped);
    search.oracle.go_on();
    const auto found = search.run();
    CHECK(found.result == Result::measured);
    CHECK(found.value.value == whole.value.value);
    CHECK(search.oracle.answered() == undisturbed.oracle.answered());
  }
}

TEST_CASE("Grid search: the budget ends it before a trial more") {
  Search search{{}, [](double v, std::int64_t) { return parabola(v, 1.2); }, {9, 3}};
  CHECK(search.run().result == Result::exhausted);
  CHECK(search.oracle.answered().size() == 6);
}

TEST_CASE("Grid search: a parabola's vertex, and the interval of logarithms") {
  const auto f = [](double x) { return 3.0 * (x - 0.25) * (x - 0.25) + 1.0; };
  CHECK(parabola_vertex(f(-0.5), f(0.0), f(0.5), 0.5) == Approx(0.25));
  CHECK(parabola_vertex(1.0, 1.0, 1.0, 0.5) == 0.0);   // flat
  CHECK(parabola_vertex(0.0, 1.0, 1.5, 0.5) == -0.5);  // bent the other way
  CHECK(parabola_vertex(9.0, 1.0, 1.0, 0.5) == Approx(0.25));
  // Student's t of three values: 4.303 standard errors.
  const auto interval = log_interval({1.0, std::exp(1.0), std::exp(2.0)});
  CHECK(interval.value == Approx(std::exp(1.0)));
  CHECK(interval.high / interval.value ==
        Approx(std::exp(4.302653 / std::sqrt(3.0))).epsilon(1e-5));
  CHECK(interval.low * interval.high == Approx(interval.value * interval.value));
}
