#include "experiments/training/rank_pace.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

TEST_CASE("ranks: one that keeps the others waiting is named, once", "[parallel]") {
  RankPace pace;
  for (std::size_t step = 1; step < RankPace::kSteps; ++step) {
    CHECK(pace.add({1.0, 1.1, 2.0, 0.9}).empty());
  }
  CHECK_THAT(pace.add({1.0, 1.1, 2.0, 0.9}), Contains("rank 2 is slow: 2 s a step"));
  CHECK(pace.add({1.0, 1.1, 2.0, 0.9}).empty());
}

TEST_CASE("ranks: of two the slower one is named", "[parallel]") {
  RankPace pace;
  std::string note;
  for (std::size_t step = 0; step < RankPace::kSteps; ++step) note = pace.add({3.0, 1.0});
  CHECK_THAT(note, Contains("rank 0 is slow"));
}

TEST_CASE("ranks: single slow steps and small differences name nobody", "[parallel]") {
  RankPace pace;
  for (int step = 0; step < 40; ++step) {
    CHECK(pace.add({1.0, step % 3 == 0 ? 9.0 : 1.2, 1.0}).empty());
  }
}
