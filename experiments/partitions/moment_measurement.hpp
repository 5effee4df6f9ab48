// What the second moments of gradients say of every section's candidates.
#pragma once

#include <vector>

#include "experiments/curvature/work_meter.hpp"
#include "experiments/partitions/discovery_point.hpp"
#include "hessian/evidence/second_moments.hpp"

namespace blockwise {

// What measure_moments() counts.
WorkCount moments_work(const ResolvedDiscovery& discovery);

// The point's second moments, on every rank: rank 0 asks for them by measure_moments().
SecondMoments moments_at(const DiscoveryPoint& point, const WorkWatch& watch);

// Fills inside, spread and signal_to_noise. Throws Stopped.
void measure_moments(const DiscoveryPoint& point, WorkMeter& meter,
                     std::vector<SectionScores>& sections);

}  // namespace blockwise
