#include "optimizers/schedule.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Approx;

namespace {

double fraction(const std::string& name, std::int64_t step) {
  return schedule_fraction({name, 10, 0, 0.1, 0.2}, step, 110);
}

}  // namespace

TEST_CASE("Warm-up is linear and ends at the peak") {
  for (const auto& entry : schedules()) {
    CHECK(fraction(entry.name, 0) == Approx(0.1));
    CHECK(fraction(entry.name, 4) == Approx(0.5));
    CHECK(fraction(entry.name, 9) == 1.0);
    CHECK(fraction(entry.name, 10) == Approx(1.0));
  }
}

TEST_CASE("Schedules pass through their closed forms") {
  CHECK(fraction("constant", 109) == 1.0);
  CHECK(fraction("linear", 60) == Approx(0.55));  // half way from 1 to 0.1
  CHECK(fraction("cosine", 60) == Approx(0.55));  // the cosine's middle
  CHECK(fraction("cosine", 35) == Approx(0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2));
  CHECK(fraction("wsd", 88) == 1.0);  // decay starts after 0.8 * 110 = 88
  CHECK(fraction("wsd", 99) == Approx(1.0 - 0.9 * std::sqrt(0.5)));
}

TEST_CASE("After the warm-up no schedule rises, and none falls below its final fraction") {
  for (const auto& entry : schedules()) {
    for (std::int64_t step = 10; step < 109; ++step) {
      CHECK(fraction(entry.name, step + 1) <= fraction(entry.name, step));
      CHECK(fraction(entry.name, step) >= 0.1);
    }
  }
}

TEST_CASE("A run that ends before its schedule has the rates of the longer run") {
  for (const auto& entry : schedules()) {
    for (const std::int64_t step : {3, 40, 59}) {
      const ScheduleConfig longer{entry.name, 10, 110, 0.1, 0.2};
      CHECK(schedule_fraction(longer, step, 60) == fraction(entry.name, step));
    }
  }
}
