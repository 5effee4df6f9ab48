// The best learning rate of groups of blocks by paired training runs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/partition/block_rates.hpp"
#include "experiments/rates/measured_rates.hpp"
#include "experiments/sweeps/paired_trials.hpp"

namespace blockwise {

// ---- one number on a grid -----------------------------------------------------------------------

// The run with a value of what is searched.
using ValueArm = std::function<Arm(double)>;

struct GridOutcome {
  PairedTrials::Result result = PairedTrials::Result::measured;
  double best = 0.0;    // point of the grid
  bool at_end = false;  // of the grid, widened as far as it may be: the best may lie beyond
  // Where the loss is lowest: per seed the vertex of the parabola through the best point and its
  // neighbours over log value; Student's interval of the logarithms over seeds. At an end of the
  // grid, or where a neighbour diverged, the point itself, and its neighbours as the interval.
  RateInterval value;
  PairedTest to_baseline;  // the best point's loss minus the baseline's
};

// Successive halving over the grid (ascending, in equal ratios, above 0), then all seeds for the
// best point and its neighbours until the best one has none that is better. Where it is an end of
// the grid, that grows by the same ratio, by six points at most.
GridOutcome search_grid(PairedTrials& trials, const Arm& baseline, const std::vector<double>& grid,
                        const ValueArm& arm);

// The vertex of the parabola through (-h, a), (0, b), (h, c): within [-h, h]; 0 where it is flat.
double parabola_vertex(double a, double b, double c, double h);

// ---- coordinate search --------------------------------------------------------------------------

// Sections that share a factor.
struct RateGroup {
  std::string name;
  std::vector<std::pair<std::size_t, std::size_t>> sections;  // (tensor, section)
};
// groups: role or role_and_layer, as search_lr.groups; those with the most parameters first.
std::vector<RateGroup> rate_groups(const ParameterLayout& layout, const Partition& partition,
                                   const std::string& groups);

struct GroupRate {
  RateGroup group;
  double factor = 1.0;             // what is taken
  RateInterval best;               // where the loss was lowest
  std::optional<PairedTest> test;  // best point against the rates before it
  bool taken = false;
};

struct CoordinateOutcome {
  PairedTrials::Result result = PairedTrials::Result::measured;
  std::vector<GroupRate> groups;
};

// A run's arm with these rates.
using RatesArm = std::function<Arm(const BlockRates&)>;

// One group at a time, the others as they are: its factor times the grid's. Taken where the
// interval of the gain excludes zero; ends after a pass without any, or `passes`.
CoordinateOutcome coordinate_search(const Partition& partition,
                                    const std::vector<RateGroup>& groups,
                                    const std::vector<double>& factors, std::int64_t passes,
                                    const RatesArm& arm, PairedTrials& trials);

// Rates of the outcome: every section of a group has its factor, with the interval.
BlockRates rates_of(const Partition& partition, const std::vector<GroupRate>& groups);

}  // namespace blockwise
