// The condition numbers of a sample of blocks.
#pragma once

#include <vector>

#include "experiments/curvature/work_meter.hpp"
#include "experiments/partitions/discovery_point.hpp"

namespace blockwise {

// What measure_conditions() counts: its units, and at most so many products.
WorkCount conditions_work(const ResolvedDiscovery& discovery);

// Fills `condition` of one section per role, as it is chosen and as adam_mini has it, from
// discovery.condition_blocks blocks of each. Nothing where the objective takes no products. Throws
// Stopped.
void measure_conditions(const DiscoveryPoint& point, WorkMeter& meter,
                        std::vector<SectionScores>& sections);

}  // namespace blockwise
