#include "experiments/partitions/partition_scores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/statistics.hpp"
#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

constexpr double kTwoSided = 0.98;  // of which one side leaves 1 %

// Standard errors of a mean over the candidate's vectors that 99 % of means stay below: Student's
// t. An error without vectors behind it is known, not estimated: the limit, the normal quantile.
double confident_errors(const CandidateScore& candidate) {
  constexpr double kMany = 1e6;
  const auto vectors = static_cast<double>(candidate.deviations.size());
  return student_t_quantile(vectors < 2.0 ? kMany : vectors - 1.0, kTwoSided);
}

double values_per_element(const CandidateScore& candidate) {
  return double(candidate.section.state_size()) / double(candidate.section.size());
}

bool above_chance(const CandidateScore& candidate) {
  return std::isfinite(candidate.lift) &&
         candidate.lift > confident_errors(candidate) * candidate.lift_error;
}

const CandidateScore* find(const std::vector<CandidateScore>& candidates, const std::string& name) {
  const auto found = std::ranges::find(candidates, name, &CandidateScore::name);
  return found == candidates.end() ? nullptr : &*found;
}

const CandidateScore* find(const SectionScores& section, const std::string& name) {
  return find(section.candidates, name);
}

// NaN where nothing has a gradient: nothing speaks for averaging.
bool averages_safely(const CandidateScore& candidate) { return candidate.signal_to_noise >= 1.0; }

void score_one(const DiscoveryConfig& config, CandidateScore& candidate) {
  candidate.loss = 1.0;
  candidate.loss_error = 0.0;
  if (config.objective == "signal_to_noise") {
    if (averages_safely(candidate)) candidate.loss = 1.0 / (1.0 + candidate.signal_to_noise);
    candidate.loss += config.state_cost * values_per_element(candidate);
    return;
  }
  if (candidate.name == "whole") return;
  if (config.objective == "energy" && above_chance(candidate)) {
    candidate.loss = 1.0 - candidate.lift;
    candidate.loss_error = candidate.lift_error;
  }
  if (config.objective == "homogeneity") {
    candidate.loss = candidate.inside;
    candidate.loss_error = candidate.inside_error;
  }
  candidate.loss += config.state_cost * values_per_element(candidate);
}

std::int64_t state_of(const SectionScores& section) {
  return section.candidates[section.chosen].section.state_size();
}

// Every block of `coarse` is a union of blocks of `fine`, and not the same.
bool merges(const CandidateScore& coarse, const CandidateScore& fine) {
  const auto& section = coarse.section;
  const auto& large = section.structure;
  const auto& small = fine.section.structure;
  const auto tiles = Structure::Kind::tiles;
  if (large.kind != tiles || small.kind != tiles) return false;
  const auto rows = std::min(large.tile_rows, section.rows);
  const auto columns = std::min(large.tile_columns, section.columns);
  return rows % small.tile_rows == 0 && columns % small.tile_columns == 0 &&
         section.state_size() < fine.section.state_size();
}

// Of the difference of two shares.
double error_of_difference(const CandidateScore& a, const CandidateScore& b) {
  const auto vectors = static_cast<double>(a.deviations.size());
  if (vectors < 2.0) return 0.0;
  double squares = 0.0;
  for (std::size_t i = 0; i < a.deviations.size(); ++i) {
    squares += std::pow(a.deviations[i] - b.deviations[i], 2);
  }
  return std::sqrt(squares / (vectors - 1.0) / vectors);
}

// Of the energy that the fine blocks leave out the unions hold (s - s') / (1 - s'), random unions
// (r - r') / (1 - r').
bool merge_is_founded(const CandidateScore& coarse, const CandidateScore& fine) {
  const double left = 1.0 - fine.share;
  const double error = confident_errors(coarse) * error_of_difference(coarse, fine);
  if (left <= error) return false;  // nothing is left that a union could hold
  const double random = (coarse.chance - fine.chance) / (1.0 - fine.chance);
  return (coarse.share - fine.share) / left - random > error / left;
}

// Of the axes the one with the better ratio, and what discovery.candidates names beside them.
bool is_eligible(const DiscoveryConfig& config, const std::vector<CandidateScore>& candidates,
                 const CandidateScore& candidate) {
  const bool row = candidate.name == "row", column = candidate.name == "column";
  if (!row && !column) return std::ranges::count(config.candidates, candidate.name) > 0;
  const auto* other = find(candidates, row ? "column" : "row");
  return other == nullptr || !(other->signal_to_noise > candidate.signal_to_noise);
}

// SlimAdam: what averages safely, or one value per element where nothing does.
bool competes_by_ratio(const DiscoveryConfig& config, const std::vector<CandidateScore>& candidates,
                       const CandidateScore& candidate) {
  if (candidate.name != "element") {
    return is_eligible(config, candidates, candidate) &&
           (averages_safely(candidate) || find(candidates, "element") == nullptr);
  }
  return std::ranges::none_of(candidates, [&](const auto& other) {
    return other.name != "element" && averages_safely(other) &&
           is_eligible(config, candidates, other);
  });
}

bool competes(const DiscoveryConfig& config, const std::vector<CandidateScore>& candidates,
              const CandidateScore& candidate) {
  if (config.objective == "signal_to_noise") {
    return competes_by_ratio(config, candidates, candidate);
  }
  if (config.objective != "energy" || candidate.name == "whole") return true;
  return std::ranges::none_of(candidates, [&](const auto& fine) {
    return merges(candidate, fine) && above_chance(fine) && !merge_is_founded(candidate, fine);
  });
}

std::size_t best_within_error(const DiscoveryConfig& config,
                              const std::vector<CandidateScore>& candidates) {
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (competes(config, candidates, candidates[i])) left.push_back(i);
  }
  // Neither axis nor element: `whole` is all there is.
  if (left.empty()) left.push_back(0);
  const auto loss = [&](std::size_t i) { return candidates[i].loss; };
  const auto best = *std::ranges::min_element(left, {}, loss);
  const double bound = candidates[best].loss + candidates[best].loss_error;
  auto chosen = best;
  for (const auto i : left) {
    const bool fewer = candidates[i].section.state_size() < candidates[chosen].section.state_size();
    if (candidates[i].loss <= bound && fewer) chosen = i;
  }
  return chosen;
}

// Giving up one section's choice for a smaller one.
struct Sacrifice {
  double price = std::numeric_limits<double>::infinity();  // loss times elements, per value saved
  std::size_t section = 0, candidate = 0;
};

Sacrifice cheapest(const std::vector<SectionScores>& sections) {
  Sacrifice best;
  for (std::size_t number = 0; number < sections.size(); ++number) {
    const auto& candidates = sections[number].candidates;
    const auto& now = candidates[sections[number].chosen];
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const auto& other = candidates[i];
      const auto saved = now.section.state_size() - other.section.state_size();
      if (saved <= 0) continue;
      const double price = (other.loss - now.loss) * double(now.section.size()) / double(saved);
      if (price < best.price) best = {price, number, i};
    }
  }
  return best;
}

}  // namespace

void score(const DiscoveryConfig& config, std::vector<SectionScores>& sections) {
  for (auto& section : sections) {
    for (auto& candidate : section.candidates) score_one(config, candidate);
  }
}

void choose(const DiscoveryConfig& config, std::int64_t parameters,
            std::vector<SectionScores>& sections) {
  std::int64_t values = 0;
  for (auto& section : sections) {
    section.chosen = best_within_error(config, section.candidates);
    values += state_of(section);
  }
  const auto bound = static_cast<std::int64_t>(config.max_state * double(parameters));
  while (values > bound) {
    const auto give_up = cheapest(sections);
    require_input(std::isfinite(give_up.price),
                  "discovery.max_state: {} values are allowed, vectors per element and whole "
                  "matrices take {}",
                  bound, values);
    auto& section = sections[give_up.section];
    values -= state_of(section);
    section.chosen = give_up.candidate;
    values += state_of(section);
  }
}

Partition chosen_partition(const ParameterLayout& layout, const std::string& name,
                           const std::vector<SectionScores>& sections) {
  std::vector<TensorPartition> tensors(layout.parameters().size());
  for (const auto& section : sections) {
    const auto& chosen = section.candidates[section.chosen];
    auto part = chosen.section;
    part.rule = chosen.name;
    part.merged = section.merged;
    tensors[section.tensor].sections.push_back(part);
  }
  return Partition(layout, name, std::move(tensors));
}

// ---- report -------------------------------------------------------------------------------------

namespace {

std::string loss_of(const CandidateScore* candidate) {
  return candidate == nullptr ? "-" : fmt::format("{:.3f}", candidate->loss);
}

// SlimAdam: the axis with the higher ratio, where that is at least 1.
std::string slim_adam(const SectionScores& section) {
  const auto* row = find(section, "row");
  const auto* column = find(section, "column");
  if (row == nullptr || column == nullptr) return "-";
  const auto* better = row->signal_to_noise >= column->signal_to_noise ? row : column;
  return better->signal_to_noise >= 1.0 ? better->name : "element";
}

std::string unresolved_report(const std::vector<SectionScores>& sections) {
  const auto count = std::ranges::count(sections, false, &SectionScores::resolved);
  if (count == 0) return "";
  return fmt::format(
      "{} sections have no lift: their energy off the diagonal does not stand out from the noise. "
      "More discovery.vectors or codes; discovery.scope tensor keeps other tensors' noise out\n",
      count);
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.3g}", value) : "-";
}

// With a comma before each; empty where nothing was measured.
std::string measured_cells(const CandidateScore& candidate) {
  const bool blocks = std::isfinite(candidate.lift);
  std::string out;
  for (const double value :
       {candidate.lift, candidate.lift_error, blocks ? candidate.share : kNotMeasured,
        blocks ? candidate.chance : kNotMeasured, candidate.inside, candidate.inside_error,
        candidate.diagonal_inside, candidate.diagonal_inside_error, candidate.spread,
        candidate.signal_to_noise, candidate.condition, candidate.loss, candidate.loss_error}) {
    out += std::isfinite(value) ? fmt::format(",{:.6g}", value) : ",";
  }
  return out;
}

}  // namespace

std::optional<std::size_t> adam_mini_candidate(const SectionScores& section) {
  const auto role = section.candidates.front().section.role;
  const bool heads = role == ParameterRole::query || role == ParameterRole::key;
  const auto* found = heads ? find(section, "head") : nullptr;
  if (found == nullptr) found = find(section, "row");
  if (found == nullptr) return std::nullopt;
  return static_cast<std::size_t>(found - section.candidates.data());
}

std::string discovery_report(const ParameterLayout& layout,
                             const std::vector<SectionScores>& sections, std::size_t width) {
  TextTable table({key_column("tensor"), text_column("role"), text_column("chosen"),
                   value_column("score"), value_column("lift ± s.e."),
                   value_column("inside ± s.e."), value_column("s/n"), detail_column("adam_mini"),
                   detail_column("row"), detail_column("column"), detail_column("whole"),
                   detail_column("slim_adam")});
  for (const auto& section : sections) {
    if (!section.is_matrix) continue;
    const auto& chosen = section.candidates[section.chosen];
    const auto adam_mini = adam_mini_candidate(section);
    const auto with_error = [](double value, double error) {
      return std::isfinite(value) ? fmt::format("{:.2f} ± {:.2f}", value, error) : std::string("-");
    };
    table.add({layout.parameters()[section.tensor].name,
               std::string(role_name(chosen.section.role)), chosen.name,
               fmt::format("{:.3f}", chosen.loss), with_error(chosen.lift, chosen.lift_error),
               with_error(chosen.inside, chosen.inside_error), number(chosen.signal_to_noise),
               loss_of(adam_mini ? &section.candidates[*adam_mini] : nullptr),
               loss_of(find(section, "row")), loss_of(find(section, "column")),
               loss_of(find(section, "whole")), slim_adam(section)});
  }
  return table.text(width) + wrapped(unresolved_report(sections), width, 2);
}

std::string scores_csv(const ParameterLayout& layout, const std::vector<SectionScores>& sections) {
  std::string out =
      "tensor,role,layer,section,candidate,rows,columns,values,chosen,adam_mini,lift,lift_error,"
      "share,chance,inside,inside_error,diagonal_inside,diagonal_inside_error,spread,"
      "signal_to_noise,condition,loss,loss_error\n";
  std::size_t tensor = layout.parameters().size(), number = 0;
  for (const auto& section : sections) {
    number = section.tensor == tensor ? number + 1 : 0;
    tensor = section.tensor;
    if (!section.is_matrix) continue;
    const auto& parameter = layout.parameters()[tensor];
    const auto adam_mini = adam_mini_candidate(section);
    for (std::size_t i = 0; i < section.candidates.size(); ++i) {
      const auto& candidate = section.candidates[i];
      const auto& part = candidate.section;
      out += fmt::format("{},{},{},{},{},{},{},{},{},{}", parameter.name, role_name(part.role),
                         parameter.layer, number, candidate.name, part.rows, part.columns,
                         part.state_size(), i == section.chosen ? 1 : 0, adam_mini == i ? 1 : 0);
      out += measured_cells(candidate) + "\n";
    }
  }
  return out;
}

}  // namespace blockwise
