// The choice among scored candidates.
#include "experiments/partitions/partition_scores.hpp"

#include <algorithm>
#include <array>

#include "core/base/error.hpp"
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

namespace {

// A matrix of 64 x 32: whole, 8 groups of eight rows, 64 rows, 32 columns.
CandidateScore& named(SectionScores& section, const std::string& name) {
  return *std::ranges::find(section.candidates, name, &CandidateScore::name);
}

SectionScores energy_section() {
  SectionScores section;
  section.candidates = {candidate("whole", Structure::tiles(64, 32), 0.0),
                        candidate("rows_8", Structure::tiles(8, 32), 0.0),
                        candidate("row", Structure::tiles(1, 32), 0.0),
                        candidate("column", Structure::tiles(64, 1), 0.0)};
  auto& row = named(section, "row");
  row.lift = 0.90;
  row.lift_error = 0.02;
  row.share = 0.90;
  row.chance = 1.0 / 64.0;
  auto& rows = named(section, "rows_8");
  rows.lift = 0.89;
  rows.lift_error = 0.02;
  rows.chance = 8.0 / 64.0;
  return section;
}

DiscoveryConfig by(const std::string& objective, double state_cost = 0.0) {
  DiscoveryConfig config;
  config.objective = objective;
  config.state_cost = state_cost;
  return config;
}

std::string chosen_by(const DiscoveryConfig& config, const SectionScores& section) {
  std::vector<SectionScores> sections{section};
  score(config, sections);
  choose(config, 64 * 32, sections);
  return sections[0].candidates[sections[0].chosen].name;
}

}  // namespace

TEST_CASE("Scores by energy are 1 - lift where that is above chance, and 1 elsewhere") {
  std::vector<SectionScores> sections{energy_section()};
  named(sections[0], "column").lift = 0.04;
  named(sections[0], "column").lift_error = 0.02;  // two standard errors are below 99 %
  score(by("energy", 2.0), sections);
  CHECK(named(sections[0], "row").loss == Approx(0.1 + 2.0 * 64.0 / 2048.0));
  CHECK(named(sections[0], "row").loss_error == 0.02);
  CHECK(named(sections[0], "column").loss == Approx(1.0 + 2.0 * 32.0 / 2048.0));
  CHECK(named(sections[0], "column").loss_error == 0.0);
  CHECK(named(sections[0], "whole").loss == 1.0);
  // The same lift from three vectors: Student's t of two degrees asks for more.
  named(sections[0], "row").lift_error = 0.3;
  score(by("energy"), sections);
  CHECK(named(sections[0], "row").loss == Approx(0.1));
  named(sections[0], "row").deviations = {0.0, 0.0, 0.0};
  score(by("energy"), sections);
  CHECK(named(sections[0], "row").loss == 1.0);
}

TEST_CASE("Scores by homogeneity are the variance left inside, and whole says nothing") {
  std::vector<SectionScores> sections{energy_section()};
  named(sections[0], "row").inside = 0.4;
  named(sections[0], "row").inside_error = 0.1;
  named(sections[0], "whole").inside = 0.7;
  score(by("homogeneity"), sections);
  CHECK(named(sections[0], "row").loss == 0.4);
  CHECK(named(sections[0], "row").loss_error == 0.1);
  CHECK(named(sections[0], "whole").loss == 1.0);
}

TEST_CASE("Among candidates within a standard error of the best the fewest values are chosen") {
  auto section = energy_section();
  named(section, "row").inside = 0.30;
  named(section, "column").inside = 0.33;
  CHECK(chosen_by(by("homogeneity"), section) == "row");
  named(section, "row").inside_error = 0.05;
  CHECK(chosen_by(by("homogeneity"), section) == "column");
  // All alike: the fewest of all.
  for (auto& candidate : section.candidates) candidate.inside = 1.0;
  CHECK(chosen_by(by("homogeneity"), section) == "whole");
}

TEST_CASE("By energy unions of blocks compete where they hold more than random unions do") {
  auto section = energy_section();
  // Of the tenth that rows leave out random unions hold a ninth.
  named(section, "rows_8").share = 0.905;
  CHECK(chosen_by(by("energy"), section) == "row");
  named(section, "rows_8").share = 0.99;
  CHECK(chosen_by(by("energy"), section) == "rows_8");
  // Not where the vectors do not agree on it.
  named(section, "rows_8").deviations = {0.1, -0.1, 0.1, -0.1};
  named(section, "row").deviations = {0.0, 0.0, 0.0, 0.0};
  CHECK(chosen_by(by("energy"), section) == "row");
}

TEST_CASE("The bound on values gives up what costs the least per value") {
  std::vector<SectionScores> sections{energy_section(), energy_section(), energy_section()};
  const std::array<double, 3> inside = {0.1, 0.5, 0.3};
  for (std::size_t i = 0; i < 3; ++i) named(sections[i], "row").inside = inside[i];
  auto config = by("homogeneity");
  const auto names = [&](double values) {
    config.max_state = values / (3.0 * 2048.0);
    score(config, sections);
    choose(config, 3 * 2048, sections);
    std::vector<std::string> all;
    for (const auto& section : sections) all.push_back(section.candidates[section.chosen].name);
    return all;
  };
  CHECK(names(192.5) == std::vector<std::string>{"row", "row", "row"});
  CHECK(names(191.5) == std::vector<std::string>{"row", "whole", "row"});
  CHECK(names(70.5) == std::vector<std::string>{"row", "whole", "whole"});
  CHECK(names(3.5) == std::vector<std::string>{"whole", "whole", "whole"});
  CHECK_THROWS_AS(names(2.5), InputError);
}
