#include "experiments/sweeps/planned_file.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace blockwise {

namespace fs = std::filesystem;

PlannedFile planned_file(const SweepMember& member, const fs::path& folder) {
  PlannedFile file{
      member.plan.id, member.plan.group, member.plan.seed, {}, folder / member.run, member.hash,
      false,          member.shorter,    member.steps};
  for (const auto& [key, value] : member.plan.overrides) {
    if (key != "seed") file.settings.emplace_back(key, value);
  }
  return file;
}

PlannedFile single_file(const fs::path& folder) {
  const auto name = fs::weakly_canonical(folder).filename().string();
  return {name, name, {}, {}, folder / "run.h5", "", false};
}

void require_planned(const PlannedFile& planned, const RunResult& run) {
  const bool grows = std::ranges::count(planned.shorter, run.config_hash) > 0;
  require_input(planned.hash.empty() || planned.hash == run.config_hash || grows,
                "{}: the member '{}' ran another configuration (hash {}) than the manifest says "
                "({})",
                planned.run.string(), planned.id, run.config_hash, planned.hash);
}

bool is_to_grow(const PlannedFile& planned, const RunResult& run) {
  return run.state == RunState::finished && run.last_step < planned.steps;
}

}  // namespace blockwise
