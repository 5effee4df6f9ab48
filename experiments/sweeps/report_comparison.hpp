// The tests of a report: configurations against one of them, paired by seed.
#pragma once

#include <cstddef>
#include <vector>

#include "experiments/sweeps/report.hpp"

namespace blockwise {

// Best first: by mean final loss, one with a diverged seed after all without, one without any final
// loss last.
void rank_rows(std::vector<ReportRow>& rows);

// Fills against_baseline, time_to_baseline and holm_p_value of every row but rows[baseline], and
// the same of the test losses, where there are some. The rows that have a p-value are one family.
// Nothing where that row has no final loss.
void compare_rows(std::vector<ReportRow>& rows, std::size_t baseline);

}  // namespace blockwise
