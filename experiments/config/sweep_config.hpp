// The members of a sweep: the base run with some keys set, as its section says (sweep_fields.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "experiments/config/sweep_fields.hpp"

namespace blockwise {

// Which keys a member sets, in order.
struct MemberPlan {
  std::string id;  // readable and unique within the sweep, a valid folder name
  std::string group;
  std::int64_t seed = 0;
  std::vector<std::pair<std::string, std::string>> overrides;
};

// Every member is resolved before the first one starts and has a folder of its own.
inline constexpr std::int64_t kMaxMembers = 10'000;

// What is wrong with the sweep's size, "" where nothing is: more than kMaxMembers members, or a
// run_cap above the number of distinct configurations of a group.
std::string size_problem(const SweepConfig& sweep);

// A name that every file system and shell takes; a long one ends in a hash of the whole.
std::string member_folder_name(std::string text);

// Pure: grid is the cartesian product in the order of the YAML, random draws run_cap distinct
// points per group from a stream of `seed`. Values that are one number are one value, however they
// are written: 1e-3, 1.0e-3 and 0.001. Throws InputError for a size_problem(), two equal members,
// and a random draw that hardly finds new points.
std::vector<MemberPlan> expand(const SweepConfig& sweep);

}  // namespace blockwise
