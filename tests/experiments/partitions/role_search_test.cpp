// A search by loss, where the loss is a sum over roles of what their structures cost.
#include "experiments/partitions/role_search.hpp"

#include <fmt/format.h>

#include <map>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_oracle.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Result = PairedTrials::Result;

// whole: 1 value, row: one per row, element: one per element.
SectionScores section(ParameterRole role, std::int64_t rows, std::int64_t columns) {
  SectionScores scores;
  const auto add = [&](const std::string& name, Structure structure) {
    scores.candidates.push_back({name, {role, name, 0, rows, columns, std::move(structure)}});
  };
  add("whole", Structure::tiles(rows, columns));
  add("row", Structure::tiles(1, columns));
  add("element", Structure::per_element());
  return scores;
}

enum : std::size_t { kWhole, kRow, kElement };

// Nats beside the best structure, by role and candidate; nothing: that structure diverges.
using Costs = std::map<ParameterRole, std::array<TrialLoss, 3>>;

// Queries of 8 x 8, gates of 16 x 8 in two layers, and a vector.
struct Search {
  explicit Search(Costs formula) : costs(std::move(formula)) {
    sections = {section(ParameterRole::query, 8, 8), section(ParameterRole::mlp_gate, 16, 8),
                section(ParameterRole::mlp_gate, 16, 8), section(ParameterRole::norm, 8, 1)};
    sections.back().is_matrix = false;
    sections.back().candidates.erase(sections.back().candidates.begin(),
                                     sections.back().candidates.begin() + 2);
  }

  Costs costs;
  std::vector<SectionScores> sections;
  FormulaOracle oracle;
  TrialLimits limits{1000, 3};
  std::int64_t most_values = 1000;
  std::vector<Proposal> proposals = {{"rows", {kRow, kRow, kRow, 0}},
                                     {"wholes", {kWhole, kWhole, kWhole, 0}}};

  RoleSearchOutcome run() {
    PairedTrials trials(oracle, limits);
    const RoleSearch search{sections, [this](const PartitionChoice& choice) { return arm(choice); },
                            most_values, 0.01};
    return search_roles(search, proposals, trials);
  }

  Arm arm(const PartitionChoice& choice) {
    const auto id = fmt::format("{}{}{}", choice[0], choice[1], choice[2]);
    return oracle.arm(id, [this, choice](std::int64_t seed) -> TrialLoss {
      double sum = 3.0 + 0.2 * static_cast<double>(seed);
      for (std::size_t i = 0; i < 3; ++i) {
        const auto cost = costs.at(sections[i].candidates.front().section.role)[choice[i]];
        if (!cost) return std::nullopt;
        sum += *cost;
      }
      return sum;
    });
  }
};

const ParameterRole kQuery = ParameterRole::query, kGate = ParameterRole::mlp_gate;

// The query wants a value per element, the gates' cost is below the tolerance of 0.01.
const Costs kSeparate = {{kQuery, {0.5, 0.05, 0.0}}, {kGate, {0.002, 0.0, 0.0}}};

}  // namespace

TEST_CASE("Role search: it finds the fewest values within the tolerance of the best loss") {
  Search search(kSeparate);
  const auto found = search.run();
  CHECK(found.result == Result::measured);
  CHECK(found.choice == PartitionChoice{kElement, kWhole, kWhole, 0});
  // From either end.
  search.proposals = {{"wholes", {kWhole, kWhole, kWhole, 0}}};
  CHECK(search.run().choice == found.choice);
}

TEST_CASE("Role search: the best proposal is where it starts, equal ones are one arm") {
  Search search(kSeparate);
  search.proposals.push_back({"again", search.proposals.front().choice});
  const auto found = search.run();
  REQUIRE(found.decisions.size() >= 2);
  CHECK(found.decisions[0].candidate == "wholes");
  CHECK(!found.decisions[0].taken);
  CHECK(found.decisions[1].candidate == "rows");
  CHECK(found.decisions[1].taken);
  CHECK(found.decisions[1].values == 8 + 16 + 16 + 8);
  CHECK(std::ranges::count(found.decisions, "again", &SearchDecision::candidate) == 0);
}

TEST_CASE("Role search: among equal structures that with the fewest values is taken") {
  Search search({{kQuery, {0.5, 0.0, 0.0}}, {kGate, {0.5, 0.0, 0.0}}});
  search.proposals = {{"wholes", {kWhole, kWhole, kWhole, 0}}};
  CHECK(search.run().choice == PartitionChoice{kRow, kRow, kRow, 0});
}

TEST_CASE("Role search: small costs of coarsening add up to the tolerance, no further") {
  // Either alone is cheap enough, both are not: the role with the most values to save goes first.
  Search search({{kQuery, {0.007, 0.0, 0.0}}, {kGate, {0.003, 0.0, 0.0}}});
  CHECK(search.run().choice == PartitionChoice{kRow, kWhole, kWhole, 0});
}

TEST_CASE("Role search: more values than allowed are never chosen") {
  Search search(kSeparate);
  search.most_values = 8 + 16 + 16 + 8;
  CHECK(search.run().choice == PartitionChoice{kRow, kWhole, kWhole, 0});
  search.most_values = 8;
  CHECK_THROWS_AS(search.run(), InputError);
}

TEST_CASE("Role search: a structure that diverges is the worst there is") {
  Search search({{kQuery, {0.5, 0.05, std::nullopt}}, {kGate, {std::nullopt, 0.0, 0.0}}});
  const auto found = search.run();
  CHECK(found.choice == PartitionChoice{kRow, kRow, kRow, 0});
  for (const auto& decision : found.decisions) {
    if (decision.role == "query" && decision.candidate == "element") CHECK(!decision.taken);
  }
}

TEST_CASE("Role search: a gain that seeds do not agree on is not taken") {
  Search search(kSeparate);
  search.proposals = {{"wholes", {kWhole, kWhole, kWhole, 0}}};
  auto outcome = search.run();
  const auto taken = [](const RoleSearchOutcome& found) {
    return std::ranges::count_if(found.decisions, [](const SearchDecision& decision) {
      return decision.stage == "refine" && decision.taken;
    });
  };
  CHECK(taken(outcome) > 0);
  // The same mean gain, all of it on one seed.
  Search noisy(kSeparate);
  noisy.proposals = search.proposals;
  PairedTrials trials(noisy.oracle, noisy.limits);
  const RoleSearch roles{noisy.sections,
                         [&](const PartitionChoice& choice) {
                           const auto id = fmt::format("{}{}{}", choice[0], choice[1], choice[2]);
                           const bool fine = choice[0] != kWhole;
                           return noisy.oracle.arm(id, [fine](std::int64_t seed) {
                             return fine && seed == 1 ? 1.5 : 3.0;
                           });
                         },
                         noisy.most_values, 0.01};
  outcome = search_roles(roles, noisy.proposals, trials);
  CHECK(taken(outcome) == 0);
  CHECK(outcome.choice == noisy.proposals.front().choice);
}

TEST_CASE("Role search: stopped anywhere it goes on from the kept answers, to the same end") {
  Search undisturbed(kSeparate);
  const auto whole = undisturbed.run();
  const auto all = std::ssize(undisturbed.oracle.answered());
  REQUIRE(all > 10);
  for (std::int64_t stop = 0; stop < all; ++stop) {
    Search search(kSeparate);
    search.oracle.stop_after(stop);
    CHECK(search.run().result == Result::stopped);
    search.oracle.go_on();
    const auto found = search.run();
    CHECK(found.result == Result::measured);
    CHECK(found.choice == whole.choice);
    CHECK(decisions_csv(found.decisions) == decisions_csv(whole.decisions));
    CHECK(search.oracle.answered() == undisturbed.oracle.answered());
  }
}

TEST_CASE("Role search: where the budget ends it, the best so far is what it says") {
  Search undisturbed(kSeparate);
  const auto whole = undisturbed.run();
  for (const std::int64_t budget : {1, 4, 8, 12}) {
    Search search(kSeparate);
    search.limits.budget = budget;
    const auto found = search.run();
    CHECK(found.result == Result::exhausted);
    CHECK(std::ssize(search.oracle.answered()) <= budget);
    REQUIRE(found.choice.size() == search.sections.size());
    // What it had decided by then is what it decides with more.
    REQUIRE(found.decisions.size() <= whole.decisions.size());
    const auto csv = decisions_csv(found.decisions);
    CHECK(decisions_csv(whole.decisions).substr(0, csv.size()) == csv);
  }
}
