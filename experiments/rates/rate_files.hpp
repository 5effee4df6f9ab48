// Rates as files: those that a search writes, and those that its training runs take.
#pragma once

#include <string>
#include <vector>

#include "core/partition/block_rates.hpp"
#include "experiments/rates/measured_rates.hpp"
#include "experiments/sweeps/loss_oracle.hpp"

namespace blockwise {

// The measured rates of search_lr.method, to be used as they are, with learning rate 1. A block
// without curvature, or without a gradient, has no best rate and does not move: it gets the typical
// one of its section, or of the model.
BlockRates block_rates(const ResolvedRateSearch& search, const std::vector<MeasuredRate>& measured);

// Rates that multiply the run's own.
BlockRates times_rate_of_run(const ResolvedRateSearch& search, BlockRates rates);

// DIR/rates.yaml, with how they were found; its path.
std::string write_rates(const ResolvedRateSearch& search, const Partition& partition,
                        BlockRates rates);

// The run with this partition and rates that multiply its own; their files are in DIR/trials/files,
// named by what they hold, so that equal ones are one arm.
Arm rates_arm(const ResolvedRateSearch& search, const Partition& partition,
              const BlockRates& rates);

}  // namespace blockwise
