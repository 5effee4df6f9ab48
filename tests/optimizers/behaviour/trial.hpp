// A rule on a problem: driven by the Optimizer as training drives it, with a rate that falls
// linearly to 0 over the problem's steps, without clipping and decay.
#pragma once

#include <nlohmann/json.hpp>

#include "tests/optimizers/behaviour/problem.hpp"

namespace blockwise::testing {

// solved: at or below the target for five successive steps; near: within a factor of 1.25 of it on
// either side, where another machine's roundings may decide.
enum class Outcome { solved, near, failed };

// The smallest distance that was held for five successive steps, over the problem's target.
double held_distance(const Problem& problem, const nlohmann::json& rule, double peak_rate);

Outcome outcome_of(double held);

}  // namespace blockwise::testing
