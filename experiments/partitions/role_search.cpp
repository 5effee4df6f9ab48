#include "experiments/partitions/role_search.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kRolesAtATime = 3;

// What differs from the partition so far, and where the search asks for it.
struct Difference {
  std::string stage, role, candidate;
};

struct Change {
  Difference what;
  PartitionChoice choice;
  Arm arm;
  std::int64_t values = 0;
};

Change change_of(const RoleSearch& search, Difference what, PartitionChoice choice) {
  auto arm = search.arm(choice);
  const auto values = values_of(search.sections, choice);
  return {std::move(what), std::move(choice), std::move(arm), values};
}

bool holds_arm(const std::vector<Change>& changes, const Arm& arm) {
  return std::ranges::any_of(changes, [&](const Change& c) { return c.arm.id == arm.id; });
}

SearchDecision decision_on(const PairedTrials& trials, const Change& change, const Arm& before,
                           bool taken) {
  const auto test = trials.difference(change.arm, before);
  return {change.what.stage,
          change.what.role,
          change.what.candidate,
          change.values,
          static_cast<std::int64_t>(test.difference.count),
          trials.mean_loss(change.arm),
          test.difference.mean,
          test.difference.half_width,
          test.p_value,
          taken};
}

// Whether the 95 % interval of what the change costs ends below `bound`.
bool costs_less(const PairedTest& test, double bound) {
  const auto& difference = test.difference;
  return difference.half_width.has_value() && difference.mean + *difference.half_width < bound;
}

// The changes that survive a race against the partition so far, best first; what does not is noted.
std::vector<Change> race_changes(const RoleSearch& search, PairedTrials& trials,
                                 RoleSearchOutcome& outcome, const std::vector<Change>& changes,
                                 std::size_t keep) {
  const auto before = search.arm(outcome.choice);
  std::vector<Arm> arms;
  for (const auto& change : changes) arms.push_back(change.arm);
  const auto survivors = race(trials, before, arms, keep);
  for (const auto& change : changes) {
    if (std::ranges::count(survivors, change.arm.id, &Arm::id) > 0) continue;
    outcome.decisions.push_back(decision_on(trials, change, before, /*taken=*/false));
  }
  std::vector<Change> left;
  for (const auto& arm : survivors) {
    left.push_back(
        *std::ranges::find_if(changes, [&](const Change& c) { return c.arm.id == arm.id; }));
  }
  return left;
}

// ---- proposals

void propose(const RoleSearch& search, const std::vector<Proposal>& proposals, PairedTrials& trials,
             RoleSearchOutcome& outcome) {
  std::vector<Change> changes;
  for (const auto& proposal : proposals) {
    if (values_of(search.sections, proposal.choice) > search.most_values) continue;
    auto change = change_of(search, {"propose", "", proposal.name}, proposal.choice);
    if (!holds_arm(changes, change.arm)) changes.push_back(std::move(change));
  }
  require_input(!changes.empty(),
                "discovery.max_state: {} values are allowed, every proposal takes more",
                search.most_values);
  const auto first = changes.front().arm;
  outcome.choice = changes.front().choice;
  const auto best = race_changes(search, trials, outcome, changes, 1).front();
  outcome.choice = best.choice;
  outcome.decisions.push_back(decision_on(trials, best, first, /*taken=*/true));
}

// ---- refine

// Roles where one value per element gains something, best first.
std::vector<std::string> roles_worth_refining(const RoleSearch& search, PairedTrials& trials,
                                              RoleSearchOutcome& outcome) {
  std::vector<Change> changes;
  for (const auto& role : matrix_roles(search.sections)) {
    auto choice = with_candidate(search.sections, outcome.choice, role, "element");
    if (choice == outcome.choice) continue;
    changes.push_back(change_of(search, {"refine", role, "element"}, std::move(choice)));
  }
  const auto before = search.arm(outcome.choice);
  std::vector<std::string> roles;
  for (const auto& change : race_changes(search, trials, outcome, changes, kRolesAtATime)) {
    const auto decision = decision_on(trials, change, before, /*taken=*/false);
    outcome.decisions.push_back(decision);
    if (decision.difference < 0.0) roles.push_back(change.what.role);
  }
  return roles;
}

// Every other partition with more values, within the bound, that differs in this role alone.
std::vector<Change> refinements_of(const RoleSearch& search, const PartitionChoice& choice,
                                   const std::string& role) {
  const auto values = values_of(search.sections, choice);
  std::vector<Change> changes;
  for (const auto& section : search.sections) {
    if (!is_matrix_of(section, role)) continue;
    for (const auto& candidate : section.candidates) {
      auto change = change_of(search, {"refine", role, candidate.name},
                              with_candidate(search.sections, choice, role, candidate.name));
      const bool fits = change.values > values && change.values <= search.most_values;
      if (fits && !holds_arm(changes, change.arm)) changes.push_back(std::move(change));
    }
  }
  return changes;
}

// Of the survivors within one standard error of the best, the one with the fewest values.
const Change& cheapest_of_best(const PairedTrials& trials, const std::vector<Change>& survivors) {
  const Change* chosen = &survivors.front();
  for (const auto& change : survivors) {
    const auto test = trials.difference(change.arm, survivors.front().arm).difference;
    const double error = test.standard_deviation.value_or(0.0) / std::sqrt(double(test.count));
    if (test.mean <= error && change.values < chosen->values) chosen = &change;
  }
  return *chosen;
}

// Whether a finer structure of the role is taken.
bool refine_role(const RoleSearch& search, PairedTrials& trials, RoleSearchOutcome& outcome,
                 const std::string& role) {
  const auto changes = refinements_of(search, outcome.choice, role);
  if (changes.empty()) return false;
  const auto before = search.arm(outcome.choice);
  const auto survivors = race_changes(search, trials, outcome, changes, 2);
  const auto& best = cheapest_of_best(trials, survivors);
  measure_until_clear(trials, best.arm, before, 0.0);
  const bool better = costs_less(trials.difference(best.arm, before), 0.0);
  for (const auto& change : survivors) {
    const bool taken = better && change.arm.id == best.arm.id;
    outcome.decisions.push_back(decision_on(trials, change, before, taken));
  }
  if (better) outcome.choice = best.choice;
  return better;
}

// Whether any role gained.
bool refine(const RoleSearch& search, PairedTrials& trials, RoleSearchOutcome& outcome) {
  bool gained = false;
  for (const auto& role : roles_worth_refining(search, trials, outcome)) {
    if (refine_role(search, trials, outcome, role)) gained = true;
  }
  return gained;
}

// ---- coarsen

// What coarsening costs is counted from `before`, the partition before any of it: small costs add
// up. Dear changes are dropped at two seeds.
void coarsen_role(const RoleSearch& search, PairedTrials& trials, RoleSearchOutcome& outcome,
                  const Change& change, const Arm& before) {
  trials.require({change.arm, before}, 2);
  if (trials.difference(change.arm, before).difference.mean < search.tolerance) {
    measure_until_clear(trials, change.arm, before, search.tolerance);
  }
  const bool cheap = costs_less(trials.difference(change.arm, before), search.tolerance);
  outcome.decisions.push_back(decision_on(trials, change, before, cheap));
  if (cheap) outcome.choice = change.choice;
}

void coarsen(const RoleSearch& search, PairedTrials& trials, RoleSearchOutcome& outcome) {
  const auto before = search.arm(outcome.choice);
  const auto whole = [&](const std::string& role) {
    return with_candidate(search.sections, outcome.choice, role, "whole");
  };
  const auto now = [&] { return values_of(search.sections, outcome.choice); };
  auto roles = matrix_roles(search.sections);
  std::ranges::stable_sort(roles, std::greater<>(), [&](const std::string& role) {
    return now() - values_of(search.sections, whole(role));
  });
  for (const auto& role : roles) {
    const auto change = change_of(search, {"coarsen", role, "whole"}, whole(role));
    if (change.values < now()) coarsen_role(search, trials, outcome, change, before);
  }
}

}  // namespace

RoleSearchOutcome search_roles(const RoleSearch& search, const std::vector<Proposal>& proposals,
                               PairedTrials& trials) {
  RoleSearchOutcome outcome;
  try {
    propose(search, proposals, trials, outcome);
    while (refine(search, trials, outcome)) {
    }
    coarsen(search, trials, outcome);
  } catch (const TrialsEnded& end) {
    outcome.result = end.result;
  }
  return outcome;
}

}  // namespace blockwise
