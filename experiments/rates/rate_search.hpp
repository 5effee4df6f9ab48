// `blockwise search-lr`: the best learning rate of every block of a run's partition, written as a
// file that `optimizer.block_lr` takes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "experiments/rates/coordinate_search.hpp"
#include "experiments/rates/rate_plan.hpp"

namespace blockwise {

// x sections at a rate of their own, everything else AdamW.
struct LeftOut {
  std::vector<std::size_t> targets;      // of ResolvedRateSearch::targets
  double mean_v = 0.0, curvature = 0.0;  // geometric means over the targets
  RateInterval rate;                     // searched
  PairedTest to_adamw;                   // of the best rate's loss
  bool at_end = false;                   // of the grid: the best rate may lie beyond
};

struct RateSearchOutcome {
  bool finished = false;   // otherwise a signal stopped it
  bool exhausted = false;  // max_trials ended it
  std::string file;        // DIR/rates.yaml; leave_out: that of the last number of sections
  std::vector<MeasuredRate> measured;  // of the targets
  std::int64_t left_out_batches = 0;   // behind mean(v), without a target that counts
  std::vector<GroupRate> groups;       // coordinate
  std::vector<LeftOut> left_out;
};

// Writes DIR/rates.yaml and DIR/rates.csv in the configuration's output folder, and by leave_out
// DIR/partition.yaml. A stopped search goes on from DIR/samples.txt and the finished runs in
// DIR/trials and gives the same files. Methods with trials ask `oracle` for losses; it is asked
// once the folder is this search's.
RateSearchOutcome search_rates(
    const ResolvedRateSearch& search, LossOracle& oracle,
    const std::function<void(std::int64_t, const std::string&)>& observe);

}  // namespace blockwise
