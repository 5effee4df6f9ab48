// What searches share, on losses that formulas say: budget, seeds, pairs, races.
#include "experiments/sweeps/paired_trials.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/formula_oracle.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Result = PairedTrials::Result;

// The same difference to other arms on every seed.
FormulaOracle::Formula always(double loss) {
  return [loss](std::int64_t seed) { return loss + 0.1 * static_cast<double>(seed); };
}

TrialLoss diverged(std::int64_t) { return std::nullopt; }

}  // namespace

TEST_CASE("Paired trials: seeds pair, nothing is asked twice, budget and seeds are bounds") {
  FormulaOracle oracle;
  const auto low = oracle.arm("low", always(1.0)), high = oracle.arm("high", always(3.0));
  PairedTrials trials(oracle, {5, 3});
  REQUIRE(trials.measure({low, high}, 2) == Result::measured);
  CHECK(trials.losses(low) == std::vector<double>{1.1, 1.2});
  CHECK(trials.difference(low, high).difference.count == 2);
  CHECK(trials.difference(low, high).difference.mean == Approx(-2.0));
  REQUIRE(trials.measure({low}, 10) == Result::measured);
  CHECK(trials.losses(low).size() == 3);
  CHECK(oracle.answered().size() == 5);
  CHECK(trials.measure({low, high}, 3) == Result::exhausted);
  CHECK(oracle.answered().size() == 5);
  // Pairs are of the seeds that both have.
  CHECK(trials.difference(low, high).difference.count == 2);
}

TEST_CASE("Paired trials: equal ids are one arm") {
  FormulaOracle oracle;
  const auto arm = oracle.arm("one", always(1.0));
  PairedTrials trials(oracle, {2, 3});
  REQUIRE(trials.measure({arm, arm}, 2) == Result::measured);
  CHECK(trials.trials() == 2);
  CHECK(trials.losses(arm).size() == 2);
}

TEST_CASE("Paired trials: a stop leaves nothing half known, and the same call goes on") {
  FormulaOracle oracle;
  const auto a = oracle.arm("a", always(1.0)), b = oracle.arm("b", always(2.0));
  PairedTrials trials(oracle, {10, 3});
  oracle.stop_after(3);
  CHECK(trials.measure({a, b}, 2) == Result::stopped);
  CHECK_THROWS_AS(trials.require({a, b}, 2), TrialsEnded);
  oracle.go_on();
  CHECK(trials.measure({a, b}, 2) == Result::measured);
  CHECK(trials.losses(b).size() == 2);
  CHECK(oracle.answered().size() == 4);
  CHECK(trials.trials() == 4);
}

TEST_CASE("Paired trials: a race keeps the best, a divergence is the worst, a clear case stops") {
  FormulaOracle oracle;
  const auto baseline = oracle.arm("baseline", always(5.0));
  const auto broken = oracle.arm("broken", diverged);
  const std::vector<Arm> arms = {oracle.arm("r4", always(4.0)), broken,
                                 oracle.arm("r2", always(2.0)), oracle.arm("r3", always(3.0))};
  PairedTrials trials(oracle, {100, 3});
  const auto survivors = race(trials, baseline, arms, 1);
  REQUIRE(survivors.size() == 1);
  CHECK(survivors.front().id == "r2");
  CHECK(trials.mean_loss(broken) == kDivergedLoss);
  CHECK(trials.losses(broken).size() == 1);  // the worse half
  CHECK(trials.losses(survivors.front()).size() == 3);
  const auto before = oracle.answered().size();
  measure_until_clear(trials, survivors.front(), baseline, 0.0);
  CHECK(oracle.answered().size() == before);  // both have all seeds
}

TEST_CASE("Paired trials: equal arms leave a race in the order in which they came") {
  FormulaOracle oracle;
  const auto baseline = oracle.arm("baseline", always(1.0));
  const std::vector<Arm> arms = {oracle.arm("first", always(1.0)),
                                 oracle.arm("second", always(1.0)),
                                 oracle.arm("third", always(1.0))};
  PairedTrials trials(oracle, {100, 4});
  const auto survivors = race(trials, baseline, arms, 2);
  REQUIRE(survivors.size() == 2);
  CHECK(survivors[0].id == "first");
  CHECK(survivors[1].id == "second");
}

TEST_CASE("Paired trials: seeds are added until an interval is clear of the bound") {
  FormulaOracle oracle;
  const auto a = oracle.arm("a", [](std::int64_t seed) { return 1.0 + 0.01 * (seed % 2 == 0); });
  const auto b = oracle.arm("b", [](std::int64_t) { return 2.0; });
  // The difference alternates about 1.
  const auto c = oracle.arm("c", [](std::int64_t seed) { return seed % 2 == 0 ? 0.0 : 2.0; });
  PairedTrials trials(oracle, {100, 8});
  measure_until_clear(trials, a, b, 0.0);
  CHECK(trials.losses(a).size() == 3);  // three pairs at least
  measure_until_clear(trials, c, b, -1.0);
  CHECK(trials.losses(c).size() == 8);
}
