#include "experiments/partitions/partition_choice.hpp"

#include <algorithm>
#include <utility>

namespace blockwise {

PartitionChoice chosen_candidates(const std::vector<SectionScores>& sections) {
  PartitionChoice choice;
  for (const auto& section : sections) choice.push_back(section.chosen);
  return choice;
}

PartitionChoice adam_mini_choice(const std::vector<SectionScores>& sections) {
  PartitionChoice choice;
  for (const auto& section : sections) {
    choice.push_back(section.is_matrix ? adam_mini_candidate(section).value_or(0) : 0);
  }
  return choice;
}

bool is_matrix_of(const SectionScores& section, const std::string& role) {
  return section.is_matrix && role_name(section.candidates.front().section.role) == role;
}

PartitionChoice with_candidate(const std::vector<SectionScores>& sections, PartitionChoice choice,
                               const std::string& role, const std::string& candidate) {
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (!is_matrix_of(sections[i], role)) continue;
    const auto& candidates = sections[i].candidates;
    const auto found = std::ranges::find(candidates, candidate, &CandidateScore::name);
    if (found == candidates.end()) continue;
    choice[i] = static_cast<std::size_t>(found - candidates.begin());
  }
  return choice;
}

std::int64_t values_of(const std::vector<SectionScores>& sections, const PartitionChoice& choice) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    sum += sections[i].candidates[choice[i]].section.state_size();
  }
  return sum;
}

std::vector<std::string> matrix_roles(const std::vector<SectionScores>& sections) {
  std::vector<std::pair<std::int64_t, std::string>> sizes;
  for (const auto& section : sections) {
    if (!section.is_matrix) continue;
    const auto& part = section.candidates.front().section;
    const std::string role(role_name(part.role));
    auto at = std::ranges::find(sizes, role, &std::pair<std::int64_t, std::string>::second);
    if (at == sizes.end()) at = sizes.insert(at, {0, role});
    at->first += part.size();
  }
  std::ranges::stable_sort(sizes, std::greater<>(), &std::pair<std::int64_t, std::string>::first);
  std::vector<std::string> roles;
  for (const auto& [size, role] : sizes) roles.push_back(role);
  return roles;
}

}  // namespace blockwise
