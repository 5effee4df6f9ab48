#include "experiments/sweeps/sweep.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/partial_file.hpp"
#include "core/io/sha256.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/sweeps/shared_folder.hpp"
#include "experiments/training/trainer.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

PlannedRun planned_run(const YamlDocument& document, const MemberPlan& plan) {
  auto own = document.clone();
  for (const auto& [path, value] : plan.overrides) {
    own.set(path, value, fmt::format("sweep member {}: {}={}", plan.id, path, value));
  }
  own.set("seed", fmt::format("{}", plan.seed), "sweep seeds");
  return {plan, own.run_config()};
}

void add_member(SweepManifest& sweep, PlannedRun planned) {
  const auto relative = fs::path("members") / planned.plan.id;
  planned.config.seed = planned.plan.seed;
  planned.config.name = planned.plan.id;
  planned.config.output = (sweep.folder / relative).string();
  const auto run = resolve(std::move(planned.config));
  run.config.optimizer.make_partition(
      run.layout);  // an uncovered tensor is an error now, not later
  sweep.members.push_back({std::move(planned.plan), (relative / "config.yaml").string(),
                           (relative / "run.h5").string(), run.config.trainer.steps, run.hash,
                           to_yaml(run.config)});
}

SweepManifest checked_sweep(const std::string& name, const fs::path& folder,
                            const std::string& baseline, std::vector<PlannedRun> runs) {
  SweepManifest sweep{name, "", baseline, folder, {}, {}, {}};
  for (auto& run : runs) add_member(sweep, std::move(run));
  std::vector<std::string> yamls;
  for (const auto& member : sweep.members) yamls.push_back(member.yaml);
  sweep.hash = sha256(fmt::format("{}", fmt::join(yamls, "---\n"))).substr(0, 16);
  return sweep;
}

// Under another name first: a second sweep of the folder may be reading it.
void write_index(const SweepManifest& sweep) {
  const auto path = sweep.folder / "index.h5";
  remove_partial(path);
  auto file = Hdf5File::create(partial_path(path));
  file.set_attribute("/", "format", "blockwise-sweep-index");
  const auto link = [&](const std::string& group, const std::vector<SweepMember>& members) {
    file.create_group(group);
    for (const auto& member : members) {
      file.create_external_link(group + "/" + member.plan.id, member.run, "/");
    }
  };
  link("/members", sweep.members);
  if (!sweep.confirmations.empty()) link("/confirmations", sweep.confirmations);
  file.close();
  rename_partial(path);
}

// The members that a folder's manifest has, also those left out and the confirmations, by id.
using KnownMembers = std::map<std::string, SweepMember>;

KnownMembers known_members(const std::optional<SweepManifest>& manifest) {
  KnownMembers known;
  if (!manifest) return known;
  for (const auto* members : {&manifest->members, &manifest->left_out, &manifest->confirmations}) {
    for (const auto& member : *members) known[member.plan.id] = member;
  }
  return known;
}

// Of those that are there: gives them the hashes that their runs have. Throws InputError where one
// would be another run.
std::vector<MemberChange> check_members(SweepManifest& sweep, const KnownMembers& known) {
  MemberCheck check(sweep.folder);
  std::vector<MemberChange> changed;
  for (auto& member : sweep.members) {
    const auto before = known.find(member.plan.id);
    auto change = check.apply(member, before == known.end() ? nullptr : &before->second);
    if (!change.keys.empty()) changed.push_back(std::move(change));
  }
  return changed;
}

// What stands in a folder of which no manifest speaks was left by a preparation that died.
void write_configs(const SweepManifest& sweep, const KnownMembers& known,
                   const std::vector<MemberChange>& changed) {
  for (const auto& member : sweep.members) {
    const auto path = sweep.folder / member.config;
    const bool stays = std::ranges::count(changed, member.plan.id, &MemberChange::id) == 0;
    if (stays && known.contains(member.plan.id) && input_exists(path)) continue;
    fs::create_directories(path.parent_path());
    write_file_atomically(path, member.yaml);
  }
}

// After the members: what a manifest lists is there.
void write_manifest(const SweepManifest& sweep, const std::optional<SweepManifest>& before) {
  const auto text = manifest_text(sweep);
  const bool same =
      before && input_exists(sweep.folder / "index.h5") && manifest_text(*before) == text;
  if (same) return;
  write_index(sweep);
  write_file_atomically(manifest_file(sweep.folder), text);
}

std::optional<SweepManifest> manifest_of(const fs::path& folder) {
  if (!input_exists(manifest_file(folder))) return std::nullopt;
  return read_manifest(folder);
}

std::set<std::string> ids_of(const std::vector<SweepMember>& members) {
  std::set<std::string> ids;
  for (const auto& member : members) ids.insert(member.plan.id);
  return ids;
}

// What the manifest has and the sweep has no more.
void leave_out(SweepManifest& sweep, const SweepManifest& before) {
  const auto ids = ids_of(sweep.members);
  for (const auto* members : {&before.members, &before.left_out}) {
    for (const auto& member : *members) {
      if (!ids.contains(member.plan.id)) sweep.left_out.push_back(member);
    }
  }
}

// A seed is for choosing or for confirming the choice.
void require_apart(const SweepManifest& sweep, const std::vector<SweepMember>& confirmations) {
  std::set<std::int64_t> confirming;
  for (const auto& member : confirmations) confirming.insert(member.plan.seed);
  for (const auto* members : {&sweep.members, &sweep.left_out}) {
    for (const auto& member : *members) {
      require_input(!confirming.contains(member.plan.seed),
                    "{}: the seed {} is to choose the best configurations and to confirm them; "
                    "only seeds that chose nothing confirm",
                    manifest_file(sweep.folder).string(), member.plan.seed);
    }
  }
}

SweepPlan plan_beside(const YamlDocument& document, const std::optional<SweepManifest>& before) {
  const auto config = document.sweep_config();
  const auto base = document.run_config();
  std::vector<PlannedRun> runs;
  for (const auto& plan : expand(config)) runs.push_back(planned_run(document, plan));
  SweepPlan plan{checked_sweep(base.name, base.output,
                               config.groups.empty() ? "run" : config.baseline, std::move(runs)),
                 {},
                 {}};
  const auto known = known_members(before);
  plan.changed = check_members(plan.manifest, known);
  if (before) {
    leave_out(plan.manifest, *before);
    plan.manifest.confirmations = before->confirmations;
    require_apart(plan.manifest, before->confirmations);
  }
  for (const auto& member : plan.manifest.members) {
    if (!known.contains(member.plan.id)) plan.added.push_back(member.plan.id);
  }
  return plan;
}

// Adds what is new and replaces what is there.
void put(std::vector<SweepMember>& members, const std::vector<SweepMember>& more) {
  for (const auto& member : more) {
    const auto id = [](const SweepMember& known) { return known.plan.id; };
    const auto found = std::ranges::find(members, member.plan.id, id);
    if (found == members.end()) {
      members.push_back(member);
    } else {
      *found = member;
    }
  }
}

}  // namespace

SweepManifest write_sweep(const std::string& name, const fs::path& folder,
                          const std::string& baseline, std::vector<PlannedRun> runs) {
  auto sweep = checked_sweep(name, folder, baseline, std::move(runs));
  const auto before = manifest_of(folder);
  const auto known = known_members(before);
  const auto changed = check_members(sweep, known);
  write_configs(sweep, known, changed);
  write_manifest(sweep, before);
  return sweep;
}

SweepPlan plan_sweep(const YamlDocument& document) {
  return plan_beside(document, manifest_of(document.run_config().output));
}

SweepManifest add_confirmations(const fs::path& folder, std::vector<PlannedRun> runs) {
  const SharedFolder taken(folder);
  const auto before = read_manifest(folder);
  auto stage = checked_sweep(before.name, folder, before.baseline, std::move(runs));
  require_apart(before, stage.members);
  const auto known = known_members(before);
  const auto changed = check_members(stage, known);
  write_configs(stage, known, changed);
  auto grown = before;
  put(grown.confirmations, stage.members);
  write_manifest(grown, before);
  return stage;
}

SweepPlan prepare_sweep(const YamlDocument& document) {
  document.sweep_config();  // its mistakes before a folder is made
  const fs::path folder = document.run_config().output;
  const SharedFolder taken(folder);
  const auto before = manifest_of(folder);
  auto plan = plan_beside(document, before);
  write_configs(plan.manifest, known_members(before), plan.changed);
  write_manifest(plan.manifest, before);
  return plan;
}

}  // namespace blockwise
