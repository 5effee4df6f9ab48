// What a sweep's file changes on members that are there, in words.
#pragma once

#include <string>
#include <vector>

#include "experiments/sweeps/sweep_member_check.hpp"

namespace blockwise {

// A sentence for each set of keys that changes alike, "trainer.evaluate_every is 4 there and 5
// here: 2 members have ended and stay as they are, 1 goes on with it", and one for learning rates
// that depend on a length that changes.
std::vector<std::string> change_notes(const std::vector<MemberChange>& changed);

}  // namespace blockwise
