#include "experiments/partitions/section_candidates.hpp"

#include <algorithm>

#include "experiments/partitions/partition_candidates.hpp"

namespace blockwise {
namespace {

SectionScores candidates_of(const DiscoveryConfig& config, std::size_t tensor,
                            const SectionView& view, std::int64_t row) {
  SectionScores section;
  section.tensor = tensor;
  section.is_matrix = view.is_matrix;
  for (const auto& candidate : partition_candidates()) {
    const bool fits = view.is_matrix ? config.uses(candidate.name) : candidate.name == "element";
    const auto structure = fits ? candidate.structure(view) : std::nullopt;
    if (!structure) continue;
    CandidateScore score{candidate.name,
                         {view.role, candidate.name, row, view.rows, view.columns, *structure}};
    section.candidates.push_back(std::move(score));
  }
  return section;
}

// Whether the section is a matrix that has a candidate of that name, with blocks.
bool has_level(const SectionScores& section, const std::string& name) {
  return section.is_matrix &&
         std::ranges::any_of(section.candidates, [&](const CandidateScore& candidate) {
           return candidate.name == name && has_blocks(candidate.section);
         });
}

}  // namespace

std::vector<SectionScores> all_sections(const DiscoveryConfig& config,
                                        const ParameterLayout& layout) {
  std::vector<SectionScores> sections;
  for (std::size_t tensor = 0; tensor < layout.parameters().size(); ++tensor) {
    std::int64_t row = 0;
    for (const auto& view : section_views(layout.parameters()[tensor])) {
      sections.push_back(candidates_of(config, tensor, view, row));
      row += view.rows;
    }
  }
  return sections;
}

std::vector<std::string> level_names(const std::vector<SectionScores>& sections) {
  std::vector<std::string> names;
  for (const auto& candidate : partition_candidates()) {
    const bool used = std::ranges::any_of(
        sections, [&](const SectionScores& section) { return has_level(section, candidate.name); });
    if (used) names.push_back(candidate.name);
  }
  return names;
}

bool has_blocks(const PartitionSection& section) {
  return section.structure.kind == Structure::Kind::tiles;
}

std::vector<std::size_t> searched_tensors(const ParameterLayout& layout) {
  std::vector<std::size_t> tensors;
  for (std::size_t tensor = 0; tensor < layout.parameters().size(); ++tensor) {
    if (layout.parameters()[tensor].is_matrix()) tensors.push_back(tensor);
  }
  return tensors;
}

std::map<ParameterRole, std::vector<std::size_t>> sections_by_role(
    const std::vector<SectionScores>& sections) {
  std::map<ParameterRole, std::vector<std::size_t>> by_role;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (!sections[i].is_matrix) continue;
    by_role[sections[i].candidates.front().section.role].push_back(i);
  }
  return by_role;
}

}  // namespace blockwise
