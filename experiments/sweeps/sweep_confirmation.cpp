#include "experiments/sweeps/sweep_confirmation.hpp"

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "experiments/sweeps/report.hpp"
#include "experiments/sweeps/sweep.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

void require_over(const Report& report, const fs::path& folder) {
  std::int64_t open = 0, failed = 0;
  for (const auto& row : report.rows) {
    open += row.seeds.unfinished + row.seeds.missing;
    failed += row.seeds.failed;
  }
  require_input(open + failed == 0,
                "{}: {} members have not ended yet and {} failed, so the best configurations are "
                "not known: run `blockwise sweep` first, or take them out of its file",
                folder.string(), open, failed);
}

bool is_of(const SweepMember& member, const ReportRow& row) {
  auto settings = member.plan.overrides;
  std::erase_if(settings, [](const auto& setting) { return setting.first == "seed"; });
  return member.plan.group == row.group && settings == row.settings;
}

// "adamw-lr1e-3" of "adamw-lr1e-3-s1".
std::string without_seed(const MemberPlan& plan) {
  const auto end = fmt::format("-s{}", plan.seed);
  return plan.id.ends_with(end) ? plan.id.substr(0, plan.id.size() - end.size()) : plan.id;
}

PlannedRun confirmation(const fs::path& folder, const SweepMember& member, std::int64_t seed) {
  PlannedRun run{member.plan, YamlDocument::load(folder / member.config).run_config()};
  run.plan.seed = seed;
  run.plan.id = member_folder_name(fmt::format("{}-s{}", without_seed(member.plan), seed));
  return run;
}

}  // namespace

std::vector<std::int64_t> confirmation_seeds(const fs::path& folder) {
  const auto manifest = read_manifest(folder);
  std::set<std::int64_t> before, search, used;
  for (const auto& member : manifest.confirmations) before.insert(member.plan.seed);
  if (!before.empty()) return {before.begin(), before.end()};
  for (const auto& member : manifest.members) search.insert(member.plan.seed);
  used = search;
  for (const auto& member : manifest.left_out) used.insert(member.plan.seed);
  for (const auto& row : make_report(folder).rows) {
    used.insert(row.found_on.begin(), row.found_on.end());
  }
  std::vector<std::int64_t> seeds;
  for (std::int64_t seed = 1; seeds.size() < search.size(); ++seed) {
    if (!used.contains(seed)) seeds.push_back(seed);
  }
  return seeds;
}

SweepManifest prepare_confirmation(const fs::path& folder, const std::vector<std::int64_t>& seeds) {
  const auto report = make_report(folder);
  require_over(report, folder);
  const auto manifest = read_manifest(folder);
  std::vector<PlannedRun> runs;
  for (const auto& group : report.groups) {
    const auto& best = report.rows[group.best];
    if (!best.final_loss) continue;
    const auto member = std::ranges::find_if(
        manifest.members, [&](const SweepMember& candidate) { return is_of(candidate, best); });
    check_equal(member == manifest.members.end(), false, "a row of a report without a member");
    for (const auto seed : seeds) runs.push_back(confirmation(folder, *member, seed));
  }
  require_input(!runs.empty(), "{}: no member finished, there is nothing to confirm",
                folder.string());
  return add_confirmations(folder, std::move(runs));
}

}  // namespace blockwise
