// Whether a run has come to its end.
#pragma once

#include <string>

#include "experiments/records/run_recorder.hpp"

namespace blockwise {

// Under the configuration `wanted` (as to_yaml() writes it), whatever the run had itself: nothing
// is left to do. A finished run goes on to more steps, is tested where it was not, and has further
// validation sets evaluated that it did not have; one that diverged goes on under another bound
// alone, which may allow the loss that ended it.
bool is_over(const RunResult& run, const std::string& wanted);

// Whether its last evaluation has losses on all these further validation sets.
bool has_last_losses(const RunResult& run, const std::vector<std::string>& names);

}  // namespace blockwise
