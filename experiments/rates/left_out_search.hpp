// How well mean(v) and curvature say the rate of sections that have no second moment: some sections
// get one searched rate, all else is AdamW.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/rates/grid_search.hpp"
#include "experiments/rates/measured_rates.hpp"

namespace blockwise {

// Sections at a rate of their own.
struct LeftOut {
  std::vector<std::size_t> targets;      // of ResolvedRateSearch::targets
  double mean_v = 0.0, curvature = 0.0;  // geometric means over the targets
  RateInterval rate;                     // searched
  PairedTest to_adamw;                   // of the best rate's loss
  bool at_end = false;                   // of the grid: the best rate may lie beyond
};

struct LeftOutOutcome {
  PairedTrials::Result result = PairedTrials::Result::measured;  // otherwise nothing is found
  LeftOut left_out;
};

// `count` sections of matrices, picked at random, other ones for every count. Throws InputError
// where there are not as many.
LeftOutOutcome search_left_out(const ResolvedRateSearch& search, std::int64_t count,
                               const std::vector<MeasuredRate>& measured, PairedTrials& trials);

// DIR/rates.yaml and the partition that it goes with, DIR/partition.yaml; the path of the rates.
std::string write_left_out(const ResolvedRateSearch& search, const LeftOut& left_out);

}  // namespace blockwise
