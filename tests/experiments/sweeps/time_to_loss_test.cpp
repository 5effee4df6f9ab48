#include "experiments/sweeps/time_to_loss.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Approx;

namespace {

// Evaluations every 10 steps of 100 tokens and half a second.
LossCourse course(const std::vector<double>& losses) {
  LossCourse result;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const auto steps = 10.0 * static_cast<double>(i);
    result.points.push_back({{steps, 100.0 * steps, 0.5 * steps}, losses[i]});
  }
  return result;
}

}  // namespace

TEST_CASE("Effort to a loss: linear between two evaluations, nothing where it is never reached") {
  const auto falling = course({4.0, 3.0, 2.0});
  const auto effort = effort_to(falling, 2.25);
  REQUIRE(effort);
  CHECK(effort->steps == Approx(17.5));
  CHECK(effort->tokens == Approx(1750.0));
  CHECK(effort->seconds == Approx(8.75));
  CHECK(effort_to(falling, 2.0)->steps == 20.0);
  CHECK(effort_to(falling, 5.0)->steps == 0.0);
  CHECK(!effort_to(falling, 1.9));
  // The first time counts, though it rises again.
  CHECK(effort_to(course({4.0, 2.0, 3.0, 1.0}), 2.0)->steps == 10.0);
  CHECK(!effort_to(course({}), 1.0));
}

TEST_CASE("A run's course counts the seconds of its steps up to each evaluation") {
  RunResult run;
  for (std::int64_t step = 1; step <= 4; ++step) {
    StepRecord row;
    row.step = step;
    row.seconds = 0.25;
    run.steps.push_back(row);
  }
  run.evaluations = {{0, 0, 4.0, 0, 0}, {2, 200, 3.0, 0, 0}, {4, 400, 2.0, 0, 0}};
  const auto result = loss_course(run);
  REQUIRE(result.points.size() == 3);
  CHECK(result.points[0].effort.seconds == 0.0);
  CHECK(result.points[1].effort.seconds == 0.5);
  CHECK(result.points[2].effort.seconds == 1.0);
  CHECK(result.points[2].effort.tokens == 400.0);
}

TEST_CASE("Time to the baseline's loss: each seed to its own, ratios by a paired t-test of logs") {
  const std::map<std::int64_t, LossCourse> baseline = {
      {1, course({4.0, 3.0, 2.0})}, {2, course({4.0, 3.0, 2.5})}, {3, course({4.0, 3.0, 2.2})}};
  // To 2.0 after 10 of 20 steps, to 2.5 after 12.5, to 2.2 after 18.
  const std::map<std::int64_t, LossCourse> own = {{1, course({4.0, 2.0, 1.0})},
                                                  {2, course({4.0, 3.0, 1.0})},
                                                  {3, course({4.0, 3.0, 2.0})},
                                                  {9, course({4.0, 3.0, 2.0})}};
  const auto time = time_to_baseline(own, baseline);
  CHECK((time.pairs == 3 && time.reached == 3));
  CHECK(time.effort->steps == Approx((10.0 + 12.5 + 18.0) / 3.0));
  // With NumPy: the mean of log(0.5), log(0.625), log(0.9); t is -2.4683, and of two degrees of
  // freedom p = 1 - |t| / sqrt(2 + t^2).
  CHECK(time.log_steps->difference.mean == Approx(-0.42283710848783573));
  CHECK(*time.log_steps->p_value == Approx(0.13233053832320762));
  CHECK(time.log_seconds->difference.mean == Approx(time.log_steps->difference.mean));
  CHECK(time_to_baseline(baseline, baseline).log_steps->difference.mean == 0.0);
}

TEST_CASE("Time to the baseline's loss: a seed that never gets there leaves no ratio") {
  const std::map<std::int64_t, LossCourse> baseline = {{1, course({4.0, 2.0})},
                                                       {2, course({4.0, 2.0})}};
  const std::map<std::int64_t, LossCourse> own = {{1, course({4.0, 1.0})}, {2, course({4.0, 2.5})}};
  const auto time = time_to_baseline(own, baseline);
  CHECK((time.pairs == 2 && time.reached == 1));
  CHECK(time.effort->steps == Approx(10.0 * 2.0 / 3.0));
  CHECK((!time.log_steps && !time.log_tokens && !time.log_seconds));
  CHECK(!time_to_baseline({}, baseline).effort);
}
