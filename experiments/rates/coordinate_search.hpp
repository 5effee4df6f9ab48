// The best learning rate of groups of blocks by paired training runs, one group after the other.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/partition/block_rates.hpp"
#include "experiments/rates/grid_search.hpp"

namespace blockwise {

// Sections that share a factor.
struct RateGroup {
  std::string name;
  std::vector<std::pair<std::size_t, std::size_t>> sections;  // (tensor, section)
};
// groups: role or role_and_layer, as search_lr.groups; those with the most elements first.
std::vector<RateGroup> rate_groups(const ParameterLayout& layout, const Partition& partition,
                                   const std::string& groups);

// What trains with these rates.
using RatesArm = std::function<Arm(const BlockRates&)>;

struct CoordinateSearch {
  const Partition& partition;
  std::vector<RateGroup> groups;
  std::vector<double> factors;  // the grid of a group, times its factor so far
  std::int64_t passes = 1;      // over all groups, at most
  RatesArm arm;
};

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

// One group at a time, the others as they are: its factor times the grid's. Taken where the
// interval of the gain excludes zero; ends after a pass without any, or `passes`.
CoordinateOutcome coordinate_search(const CoordinateSearch& search, PairedTrials& trials);

// Rates of the outcome: every section of a group has its factor, with the interval.
BlockRates rates_of(const Partition& partition, const std::vector<GroupRate>& groups);

}  // namespace blockwise
