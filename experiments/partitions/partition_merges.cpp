#include "experiments/partitions/partition_merges.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/partitions/section_candidates.hpp"

namespace blockwise {
namespace {

CodePlan coupling_plan(const DiscoveryConfig& config) {
  constexpr std::int64_t kVectors = 2, kCodes = 48;
  return {kVectors, kCodes, static_cast<std::uint64_t>(config.seed)};
}

bool is_chosen_whole(const SectionScores& section) {
  const auto& part = section.candidates[section.chosen].section;
  return has_blocks(part) && part.block_count() == 1;
}

}  // namespace

WorkCount couplings_work(const ResolvedDiscovery& discovery) {
  const auto& config = discovery.config.discovery;
  if (!config.merge) return {};
  const auto plan = coupling_plan(config);
  const auto products = plan.vectors * plan.codes;
  return {products, products, 1, 0, products};
}

AtomGraph section_couplings(const DiscoveryPoint& point, WorkMeter& meter) {
  const auto curvature = point.curvature();
  const auto matrices = point.matrices(*curvature);
  const auto atoms = point.vectors.whole();
  return atom_graph(MeteredOperator(matrices, meter), atoms.labels, atoms.block_count,
                    coupling_plan(point.discovery.config.discovery), [&] {
                      meter.advance("couplings");
                      return true;
                    });
}

void merge_sections(const AtomGraph& couplings, const SectionVectors& vectors,
                    std::vector<SectionScores>& sections) {
  const auto groups = group_atoms(couplings);
  std::map<std::int64_t, std::vector<std::size_t>> whole;  // numbers of sections, by group
  for (std::size_t atom = 0; atom < groups.size(); ++atom) {
    const auto number = vectors.searched()[atom];
    if (is_chosen_whole(sections[number])) whole[groups[atom]].push_back(number);
  }
  std::int64_t merged = 0;
  for (const auto& [group, members] : whole) {
    if (members.size() < 2) continue;
    for (const auto number : members) sections[number].merged = merged;
    ++merged;
  }
}

std::string couplings_csv(const AtomGraph& couplings, const SectionVectors& vectors,
                          const ParameterLayout& layout,
                          const std::vector<SectionScores>& sections) {
  const auto groups = group_atoms(couplings);
  const auto name = [&](std::size_t atom) {
    const auto& section = sections[vectors.searched()[atom]];
    return fmt::format("{},{}", layout.parameters()[section.tensor].name,
                       role_name(section.candidates.front().section.role));
  };
  const auto links = couplings.links.accessor<double, 2>();
  const auto rows = couplings.rows.accessor<double, 1>();
  std::string out = "tensor,role,group,other_tensor,other_role,other_group,coupling\n";
  const auto atoms = std::ssize(groups);
  for (std::int64_t i = 0; i < atoms; ++i) {
    for (std::int64_t j = i + 1; j < atoms; ++j) {
      const double scale = std::sqrt(rows[i] * rows[j]);
      const double coupling = scale > 0.0 ? std::sqrt(std::max(0.0, links[i][j]) / scale) : 0.0;
      out += fmt::format("{},{},{},{},{:.6g}\n", name(std::size_t(i)), groups[std::size_t(i)],
                         name(std::size_t(j)), groups[std::size_t(j)], coupling);
    }
  }
  return out;
}

}  // namespace blockwise
