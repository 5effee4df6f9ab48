// Merges across tensors: sections that stay whole share one value where the Hessian couples them.
#pragma once

#include <string>
#include <vector>

#include "experiments/curvature/work_meter.hpp"
#include "experiments/partitions/discovery_point.hpp"
#include "hessian/evidence/atom_graph.hpp"

namespace blockwise {

// What section_couplings() counts; nothing without discovery.merge.
WorkCount couplings_work(const ResolvedDiscovery& discovery);

// Couplings between all searched sections, from products of the whole model. Throws Stopped.
AtomGraph section_couplings(const DiscoveryPoint& point, WorkMeter& meter);

// Sets `merged` of the sections that are chosen whole and that group_atoms() puts together: links
// above the null level of shuffled codes.
void merge_sections(const AtomGraph& couplings, const SectionVectors& vectors,
                    std::vector<SectionScores>& sections);

// ||H_ij||_F / sqrt(||H_i:|| ||H_j:||) of all pairs i < j and the group of each, a line a pair.
std::string couplings_csv(const AtomGraph& couplings, const SectionVectors& vectors,
                          const ParameterLayout& layout,
                          const std::vector<SectionScores>& sections);

}  // namespace blockwise
