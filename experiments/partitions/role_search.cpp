#include "experiments/partitions/role_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

using Result = PairedTrials::Result;

// An arm and what it changes.
struct Change {
  std::string stage, role, candidate;
  PartitionChoice choice;
  Arm arm;
};

class RoleSearch {
 public:
  RoleSearch(const std::vector<SectionScores>& sections, std::int64_t parameters,
             const TrialConfig& arm, const RoleSearchOptions& options, PairedTrials& trials)
      : sections_(sections),
        arm_(arm),
        options_(options),
        trials_(trials),
        bound_(static_cast<std::int64_t>(options.max_state * double(parameters))) {}

  RoleSearchOutcome run(const std::vector<Proposal>& proposals) {
    outcome_.result = propose(proposals);
    bool gained = true;
    while (ok() && gained) outcome_.result = refine(gained);
    if (ok()) outcome_.result = coarsen();
    return outcome_;
  }

 private:
  bool ok() const { return outcome_.result == Result::measured; }

  std::int64_t values(const PartitionChoice& choice) const {
    std::int64_t sum = 0;
    for (std::size_t s = 0; s < sections_.size(); ++s) {
      sum += sections_[s].candidates[choice[s]].section.state_size();
    }
    return sum;
  }

  // Roles of matrices, those with the most parameters first.
  std::vector<std::string> roles() const {
    std::vector<std::pair<std::int64_t, std::string>> found;
    for (const auto& section : sections_) {
      if (!section.is_matrix) continue;
      const auto& part = section.candidates.front().section;
      const std::string role(role_name(part.role));
      auto at = std::ranges::find(found, role, [](const auto& f) { return f.second; });
      if (at == found.end()) at = found.insert(at, {0, role});
      at->first += part.size();
    }
    std::ranges::stable_sort(found, [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<std::string> names;
    for (const auto& [size, role] : found) names.push_back(role);
    return names;
  }

  static std::size_t index(const SectionScores& section, const std::string& candidate) {
    const auto at = std::ranges::find(section.candidates, candidate, &CandidateScore::name);
    return static_cast<std::size_t>(at - section.candidates.begin());
  }

  // Sections of the role that have no such candidate stay as they are.
  PartitionChoice with(const std::string& role, const std::string& candidate) const {
    auto choice = outcome_.choice;
    for (std::size_t s = 0; s < sections_.size(); ++s) {
      const auto& section = sections_[s];
      if (!section.is_matrix || role_name(section.candidates.front().section.role) != role)
        continue;
      const auto at = index(section, candidate);
      if (at < section.candidates.size()) choice[s] = at;
    }
    return choice;
  }

  Change change(const std::string& stage, const std::string& role,
                const std::string& candidate) const {
    auto choice = with(role, candidate);
    auto arm = arm_(choice);
    return {stage, role, candidate, std::move(choice), std::move(arm)};
  }

  Arm current() const { return arm_(outcome_.choice); }

  void note(const Change& c, const Arm& before, bool taken) {
    const auto test = trials_.difference(c.arm, before);
    outcome_.decisions.push_back({c.stage, c.role, c.candidate, values(c.choice),
                                  std::int64_t(test.difference.count), trials_.mean_loss(c.arm),
                                  test.difference.mean, test.difference.half_width, test.p_value,
                                  taken});
  }

  Race race_changes(std::vector<Change>& changes, std::size_t keep) {
    std::vector<Arm> arms;
    for (const auto& c : changes) arms.push_back(c.arm);
    auto result = race(trials_, current(), arms, keep);
    // The survivors' changes, best first.
    std::vector<Change> left;
    for (const auto& arm : result.survivors) {
      left.push_back(*std::ranges::find(changes, arm.id, [](const auto& c) { return c.arm.id; }));
    }
    if (result.result == Result::measured) {
      for (const auto& c : changes) {
        if (std::ranges::count(result.survivors, c.arm.id, &Arm::id) == 0)
          note(c, current(), false);
      }
    }
    changes = std::move(left);
    return result;
  }

  Result propose(const std::vector<Proposal>& proposals) {
    std::vector<Change> changes;
    for (const auto& p : proposals) {
      if (values(p.choice) > bound_) continue;
      auto arm = arm_(p.choice);
      if (std::ranges::count(changes, arm.id, [](const auto& c) { return c.arm.id; }) > 0) continue;
      changes.push_back({"propose", "", p.name, p.choice, std::move(arm)});
    }
    require_input(!changes.empty(),
                  "discovery.max_state: {} values are allowed, every proposal takes more", bound_);
    outcome_.choice = changes.front().choice;
    const auto first = current();
    const auto result = race_changes(changes, 1);
    if (result.result != Result::measured) return result.result;
    outcome_.choice = changes.front().choice;
    note(changes.front(), first, true);
    return Result::measured;
  }

  double gain(const Change& c) const {
    return -trials_.difference(c.arm, current()).difference.mean;
  }

  // Roles where one value per element gains something, best first.
  Result worth_refining(std::vector<std::string>& found) {
    std::vector<Change> changes;
    for (const auto& role : roles()) {
      auto c = change("refine", role, "element");
      if (c.choice != outcome_.choice) changes.push_back(std::move(c));
    }
    const auto result = race_changes(changes, kRolesAtATime);
    if (result.result != Result::measured) return result.result;
    const auto before = current();
    for (const auto& c : changes) {
      note(c, before, false);
      if (gain(c) > 0.0) found.push_back(c.role);
    }
    return Result::measured;
  }

  std::vector<Change> candidates_of(const std::string& role) const {
    std::vector<Change> changes;
    for (const auto& section : sections_) {
      if (!section.is_matrix || role_name(section.candidates.front().section.role) != role)
        continue;
      for (const auto& candidate : section.candidates) {
        auto c = change("refine", role, candidate.name);
        const bool known =
            std::ranges::count(changes, c.arm.id, [](const auto& x) { return x.arm.id; }) > 0;
        const bool finer = values(c.choice) > values(outcome_.choice);
        if (!known && finer && values(c.choice) <= bound_) changes.push_back(std::move(c));
      }
    }
    return changes;
  }

  // Of the survivors within one standard error of the best, the one with the fewest values.
  const Change& cheapest_of_best(const std::vector<Change>& survivors) const {
    const Change* chosen = &survivors.front();
    for (const auto& c : survivors) {
      const auto test = trials_.difference(c.arm, survivors.front().arm).difference;
      const double error = test.standard_deviation.value_or(0.0) / std::sqrt(double(test.count));
      if (test.mean <= error && values(c.choice) < values(chosen->choice)) chosen = &c;
    }
    return *chosen;
  }

  Result refine_role(const std::string& role, bool& gained) {
    auto changes = candidates_of(role);
    if (changes.empty()) return Result::measured;
    const auto raced = race_changes(changes, 2);
    if (raced.result != Result::measured) return raced.result;
    const auto best = cheapest_of_best(changes);
    const auto before = current();
    const auto result = measure_until_clear(trials_, best.arm, before, 0.0);
    if (result != Result::measured) return result;
    const auto test = trials_.difference(best.arm, before).difference;
    const bool better = test.half_width.has_value() && test.mean + *test.half_width < 0.0;
    for (const auto& c : changes) note(c, before, better && c.arm.id == best.arm.id);
    if (better) outcome_.choice = best.choice;
    gained = gained || better;
    return Result::measured;
  }

  Result refine(bool& gained) {
    gained = false;
    std::vector<std::string> found;
    auto result = worth_refining(found);
    for (const auto& role : found) {
      if (result != Result::measured) break;
      result = refine_role(role, gained);
    }
    return result;
  }

  // What it costs beside `before`, the partition before any coarsening: small costs add up. Dear
  // ones are dropped at two seeds.
  Result coarsen_role(const Change& c, const Arm& before) {
    auto result = trials_.measure({c.arm, before}, 2);
    if (result != Result::measured) return result;
    if (trials_.difference(c.arm, before).difference.mean < options_.tolerance) {
      result = measure_until_clear(trials_, c.arm, before, options_.tolerance);
      if (result != Result::measured) return result;
    }
    const auto test = trials_.difference(c.arm, before).difference;
    const bool cheap =
        test.half_width.has_value() && test.mean + *test.half_width < options_.tolerance;
    note(c, before, cheap);
    if (cheap) outcome_.choice = c.choice;
    return Result::measured;
  }

  Result coarsen() {
    const auto before = current();
    auto left = roles();
    std::ranges::stable_sort(left, std::greater<>(), [&](const std::string& role) {
      return values(outcome_.choice) - values(with(role, "whole"));
    });
    for (const auto& role : left) {
      const auto c = change("coarsen", role, "whole");
      if (values(c.choice) >= values(outcome_.choice)) continue;
      const auto result = coarsen_role(c, before);
      if (result != Result::measured) return result;
    }
    return Result::measured;
  }

  static constexpr std::size_t kRolesAtATime = 3;

  const std::vector<SectionScores>& sections_;
  const TrialConfig& arm_;
  RoleSearchOptions options_;
  PairedTrials& trials_;
  std::int64_t bound_;
  RoleSearchOutcome outcome_;
};

std::string optional_number(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "";
}

}  // namespace

RoleSearchOutcome search_roles(const std::vector<SectionScores>& sections, std::int64_t parameters,
                               const std::vector<Proposal>& proposals, const TrialConfig& arm,
                               const RoleSearchOptions& options, PairedTrials& trials) {
  return RoleSearch(sections, parameters, arm, options, trials).run(proposals);
}

std::string decisions_csv(const std::vector<SearchDecision>& decisions) {
  std::string out = "stage,role,candidate,values,seeds,loss,difference,half_width,p_value,taken\n";
  for (const auto& d : decisions) {
    out += fmt::format("{},{},{},{},{},{:.5f},{:.5f},{},{},{}\n", d.stage, d.role, d.candidate,
                       d.values, d.seeds, d.loss, d.difference, optional_number(d.half_width),
                       optional_number(d.p_value), d.taken ? 1 : 0);
  }
  return out;
}

std::string decisions_report(const std::vector<SearchDecision>& decisions, std::size_t width) {
  TextTable table({key_column("stage"), key_column("role"), key_column("candidate"),
                   value_column("values"), value_column("seeds"), value_column("loss"),
                   value_column("difference, nats"), text_column("taken")});
  for (const auto& d : decisions) {
    const auto interval = d.half_width ? fmt::format(" ± {:.4f}", *d.half_width) : "";
    table.add({d.stage, d.role, d.candidate, fmt::format("{}", d.values),
               fmt::format("{}", d.seeds), fmt::format("{:.4f}", d.loss),
               fmt::format("{:+.4f}{}", d.difference, interval), d.taken ? "yes" : ""});
  }
  return table.text(width);
}

}  // namespace blockwise
