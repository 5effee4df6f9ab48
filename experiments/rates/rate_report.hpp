// What a search for learning rates found, as a table for programs and as one for people.
#pragma once

#include <string>

#include "experiments/rates/rate_search.hpp"

namespace blockwise {

// rates.csv: a row per block, group or set of sections that was left out.
std::string rate_table(const ResolvedRateSearch& search, const RateSearchOutcome& outcome);

// A row per block (at most 60), group or set; no line is wider than `width`.
std::string rate_report(const ResolvedRateSearch& search, const RateSearchOutcome& outcome,
                        std::size_t width);

}  // namespace blockwise
