// How much of every section's Hessian lies inside the blocks of its candidates, from sign-coded
// probes or, by hessian.exact, from the matrices themselves.
#pragma once

#include <filesystem>
#include <vector>

#include "experiments/curvature/work_meter.hpp"
#include "experiments/partitions/discovery_point.hpp"

namespace blockwise {

// What measure_energies() counts.
WorkCount energies_work(const ResolvedDiscovery& discovery);

// Fills share, chance, deviations, lift and diagonal_inside, and `resolved`. Nothing where the
// objective takes no products. Vectors of probes that are done are kept in the file `state`, and
// taken from there, with the same bits. Throws Stopped, and InputError where `state` is of another
// configuration.
void measure_energies(const DiscoveryPoint& point, const std::filesystem::path& state,
                      WorkMeter& meter, std::vector<SectionScores>& sections);

}  // namespace blockwise
