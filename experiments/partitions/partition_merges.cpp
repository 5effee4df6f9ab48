#include "experiments/partitions/partition_merges.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/terminal/stop_signal.hpp"

namespace blockwise {

AtomGraph section_couplings(const DiscoveryPoint& point, const SectionVectors& vectors,
                            const std::function<void(const std::string&)>& observe) {
  const auto curvature = point.curvature();
  const auto a = point.matrices(*curvature);
  const auto atoms = vectors.whole();
  const auto seed = static_cast<std::uint64_t>(point.discovery.config.discovery.seed);
  return atom_graph(a, atoms.labels, atoms.block_count, {kCouplingVectors, kCouplingCodes, seed},
                    [&] {
                      observe("couplings");
                      return !stop_requested();
                    });
}

void merge_sections(const AtomGraph& couplings, const SectionVectors& vectors,
                    std::vector<SectionScores>& sections) {
  const auto groups = group_atoms(couplings);
  std::map<std::int64_t, std::vector<std::size_t>> whole;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto s = vectors.searched()[i];
    const auto& chosen = sections[s].candidates[sections[s].chosen];
    if (chosen.section.structure.kind == Structure::Kind::tiles &&
        chosen.section.block_count() == 1) {
      whole[groups[i]].push_back(s);
    }
  }
  std::int64_t number = 0;
  for (const auto& [group, members] : whole) {
    if (members.size() < 2) continue;
    for (const auto s : members) sections[s].merged = number;
    ++number;
  }
}

std::string couplings_csv(const AtomGraph& couplings, const SectionVectors& vectors,
                          const ParameterLayout& layout,
                          const std::vector<SectionScores>& sections) {
  const auto groups = group_atoms(couplings);
  const auto name = [&](std::size_t i) {
    const auto& section = sections[vectors.searched()[i]];
    return fmt::format("{},{}", layout.blocks()[section.tensor].name,
                       role_name(section.candidates.front().section.role));
  };
  const auto links = couplings.links.accessor<double, 2>();
  const auto rows = couplings.rows.accessor<double, 1>();
  std::string out = "tensor,role,group,other_tensor,other_role,other_group,coupling\n";
  const auto n = static_cast<std::int64_t>(groups.size());
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i + 1; j < n; ++j) {
      const double scale = std::sqrt(rows[i] * rows[j]);
      const double coupling = scale > 0.0 ? std::sqrt(std::max(0.0, links[i][j]) / scale) : 0.0;
      out += fmt::format("{},{},{},{},{:.6g}\n", name(std::size_t(i)), groups[std::size_t(i)],
                         name(std::size_t(j)), groups[std::size_t(j)], coupling);
    }
  }
  return out;
}

}  // namespace blockwise
