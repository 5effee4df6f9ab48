// The keys of the section `sweep`, for its reader and for `blockwise list`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

struct SweepKey {
  std::string_view name;
  std::string_view doc;
};

inline constexpr SweepKey kSweepKeys[] = {
    {"method", "grid: every combination of the values; random: run_cap of them, or of the ranges"},
    {"run_cap", "random: configurations per group, all different"},
    {"seed", "random: of the draw; more configurations keep the first ones"},
    {"seeds", "every configuration runs once per seed; they choose the best ones"},
    {"confirm", "{seeds: [...]}: the best of each group runs again on these, which chose nothing"},
    {"baseline", "group that the others are compared with; the first when left out"},
    {"parameters",
     "key: {values: [...]}, {value: ...}, or {min, max, distribution: uniform, "
     "log_uniform_values, int_uniform}; keys as in optimizer.learning_rate"},
    {"groups", "list of {name, set: {key: value}, parameters}: options that belong together"}};

inline std::vector<std::string> sweep_key_names() {
  std::vector<std::string> names;
  for (const auto& key : kSweepKeys) names.emplace_back(key.name);
  return names;
}

}  // namespace blockwise
