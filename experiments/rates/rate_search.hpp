// `blockwise search-lr`: the best learning rate of every block of a run's partition, written as a
// file that `optimizer.block_lr` takes.
#pragma once

#include <string>
#include <vector>

#include "experiments/rates/coordinate_search.hpp"
#include "experiments/rates/left_out_search.hpp"
#include "experiments/rates/measured_rates.hpp"
#include "experiments/records/run_state.hpp"

namespace blockwise {

struct RateSearchOutcome {
  bool finished = false;          // otherwise a stop ended it
  bool exhausted = false;         // max_trials ended it
  WorkCount work;                 // that was measured
  std::string file;               // DIR/rates.yaml; leave_out: that of the last number of sections
  MeasuredRates measured;         // of the targets
  std::vector<GroupRate> groups;  // coordinate
  std::vector<LeftOut> left_out;
};

// Writes DIR/rates.yaml and DIR/rates.csv in the configuration's output folder, and by leave_out
// DIR/partition.yaml. A stopped search goes on from DIR/samples.txt and what the oracle keeps, and
// gives the same files. Of several processes this is rank 0. Methods with trials ask `oracle` for
// losses, once the folder is this search's; `observe` is told of search.units().
RateSearchOutcome search_rates(const ResolvedRateSearch& search, LossOracle& oracle,
                               const WorkObserver& observe, const StopQuery& stop,
                               const Ranks& ranks = Ranks());

// The part of every rank but 0; how the search ended. Several processes share products and
// second moments; trials are processes of their own: throws InputError for methods by trials.
RunState serve_rate_search(const ResolvedRateSearch& search, const Ranks& ranks);

}  // namespace blockwise
