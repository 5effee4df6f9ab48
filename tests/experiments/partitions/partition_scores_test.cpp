// The choice among scored candidates.
#include "experiments/partitions/partition_scores.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

CandidateScore candidate(const std::string& name, Structure structure, double ratio) {
  CandidateScore score{name, {ParameterRole::other, name, 0, 64, 32, std::move(structure)}};
  score.signal_to_noise = ratio;
  return score;
}

// A matrix of 64 x 32 with these ratios.
SectionScores matrix(double row, double column, double whole, double factored) {
  SectionScores section;
  section.candidates = {candidate("whole", Structure::tiles(64, 32), whole),
                        candidate("row", Structure::tiles(1, 32), row),
                        candidate("column", Structure::tiles(64, 1), column),
                        candidate("factored", Structure::factored(64), factored),
                        candidate("tile_16", Structure::tiles(16, 16), 1e6),
                        candidate("element", Structure::per_element(), kInfinite)};
  return section;
}

std::string chosen(const SectionScores& section, std::vector<std::string> candidates = {},
                   double state_cost = 1.0) {
  DiscoveryConfig config;
  config.objective = "signal_to_noise";
  config.candidates = std::move(candidates);
  config.state_cost = state_cost;
  std::vector<SectionScores> sections{section};
  score(config, sections);
  choose(config, 64 * 32, sections);
  return sections[0].candidates[sections[0].chosen].name;
}

}  // namespace

TEST_CASE("By signal to noise it is SlimAdam's choice: the better axis, or every element") {
  for (const double state_cost : {0.0, 1.0, 100.0}) {
    INFO(state_cost);
    // Whatever larger groups or tiles have.
    CHECK(chosen(matrix(3.0, 2.9, 9.0, 50.0), {}, state_cost) == "row");
    CHECK(chosen(matrix(2.9, 3.0, 9.0, 50.0), {}, state_cost) == "column");
    CHECK(chosen(matrix(0.5, 1.0, 9.0, 50.0), {}, state_cost) == "column");
    CHECK(chosen(matrix(0.5, 0.9, 9.0, 50.0), {}, state_cost) == "element");
  }
  CHECK(chosen(matrix(kNotMeasured, kNotMeasured, kNotMeasured, kNotMeasured)) == "element");
}

TEST_CASE(
    "By signal to noise other structures compete where they are named, by ratios of their own") {
  const std::vector<std::string> named = {"row", "column", "factored", "element"};
  CHECK(chosen(matrix(3.0, 2.0, 9.0, 50.0), named) == "factored");
  CHECK(chosen(matrix(3.0, 2.0, 9.0, 2.5), named) == "row");
  CHECK(chosen(matrix(0.3, 0.2, 9.0, 1.5), named) == "factored");
  // No axis and no element: `whole` is all there is.
  auto section = matrix(3.0, 2.0, 0.1, 50.0);
  section.candidates = {section.candidates[0]};
  CHECK(chosen(section, {"head"}) == "whole");
}
