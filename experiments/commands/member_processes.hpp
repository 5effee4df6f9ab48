// Processes for what a verb trains beside it: members of a sweep, trials of a search.
#pragma once

#include <memory>

#include "experiments/sweeps/member_starter.hpp"

namespace blockwise {

// Copies of this process, which has LibTorch already (ForkedMembers), or the program anew where a
// tool has given this process threads. To be called before the verb opens or computes anything.
std::unique_ptr<MemberStarter> member_processes();

}  // namespace blockwise
