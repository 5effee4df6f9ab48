// What a search for learning rates found, as a table for programs and as one for people.
#pragma once

#include <string>

#include "experiments/rate_search.hpp"

namespace blockwise {

// rates.csv: a row per block, group or set of sections that was left out.
std::string rate_table(const ResolvedRateSearch& search, const RateSearchOutcome& outcome);

// A line per block (at most 60), group or set.
std::string rate_report(const ResolvedRateSearch& search, const RateSearchOutcome& outcome);

}  // namespace blockwise
