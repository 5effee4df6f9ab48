#include "experiments/sweep.hpp"

#include <map>
#include <optional>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/sha256.hpp"
#include "experiments/config_text.hpp"
#include "experiments/sweep_member_check.hpp"
#include "experiments/trainer.hpp"

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

// The members, and beside them their configurations.
struct CheckedSweep {
  SweepManifest manifest;
  std::vector<std::string> yamls;
};

void add_member(CheckedSweep& sweep, PlannedRun planned) {
  const auto relative = fs::path("members") / planned.plan.id;
  planned.config.seed = planned.plan.seed;
  planned.config.name = planned.plan.id;
  planned.config.output = (sweep.manifest.folder / relative).string();
  const auto run = resolve(std::move(planned.config));
  run.config.optimizer.make_partition(
      run.layout);  // an uncovered tensor is an error now, not later
  sweep.manifest.members.push_back({std::move(planned.plan), (relative / "config.yaml").string(),
                                    (relative / "run.h5").string(), run.config.trainer.steps,
                                    run.hash});
  sweep.yamls.push_back(to_yaml(run.config));
}

CheckedSweep checked_sweep(const std::string& name, const fs::path& folder,
                           const std::string& baseline, std::vector<PlannedRun> runs) {
  CheckedSweep sweep{{name, "", baseline, folder, {}}, {}};
  for (auto& run : runs) add_member(sweep, std::move(run));
  sweep.manifest.hash = sha256(fmt::format("{}", fmt::join(sweep.yamls, "---\n"))).substr(0, 16);
  return sweep;
}

void check_frozen(const SweepManifest& before, const std::string& hash) {
  require_input(before.hash == hash,
                "{}: the sweep expands to other members than those that were started here. Give it "
                "another `output`, or delete the folder.",
                manifest_file(before.folder).string());
}

void write_index(const SweepManifest& sweep) {
  const auto path = sweep.folder / "index.h5";
  fs::remove(path);
  auto file = Hdf5File::create(path);
  file.set_attribute("/", "format", "blockwise-sweep-index");
  file.create_group("/members");
  for (const auto& member : sweep.members) {
    file.create_external_link("/members/" + member.plan.id, member.run, "/");
  }
  file.close();
}

// What a folder's manifest says of its members.
struct Before {
  bool exists = false;
  std::map<std::string, std::string> hashes;  // by id
};

Before before_of(const std::optional<SweepManifest>& manifest) {
  Before before;
  if (!manifest) return before;
  before.exists = true;
  for (const auto& member : manifest->members) before.hashes[member.plan.id] = member.hash;
  return before;
}

void settle_member(const CheckedSweep& sweep, std::size_t index, const Before& before) {
  const auto& member = sweep.manifest.members[index];
  const auto listed = before.hashes.find(member.plan.id);
  const bool is_listed = listed != before.hashes.end();
  if (is_listed && !listed->second.empty()) {
    require_input(listed->second == member.hash,
                  "{}: the member '{}' was prepared with another configuration (hash {}, by now it "
                  "is {}). Give this another output, or delete the folder.",
                  manifest_file(sweep.manifest.folder).string(), member.plan.id, listed->second,
                  member.hash);
  }
  check_member_run(sweep.manifest, member);
  const auto path = sweep.manifest.folder / member.config;
  if (is_listed && fs::exists(path)) {
    check_member_config(sweep.manifest, member, sweep.yamls[index]);
  } else {
    fs::create_directories(path.parent_path());
    write_file_atomically(path, sweep.yamls[index]);
  }
}

// The manifest last: what it lists is there.
void settle(const CheckedSweep& sweep, const std::optional<SweepManifest>& manifest) {
  const auto before = before_of(manifest);
  for (std::size_t i = 0; i < sweep.yamls.size(); ++i) settle_member(sweep, i, before);
  const auto text = manifest_text(sweep.manifest);
  const bool same = manifest && fs::exists(sweep.manifest.folder / "index.h5") &&
                    manifest_text(*manifest) == text;
  if (same) return;
  write_index(sweep.manifest);
  write_file_atomically(manifest_file(sweep.manifest.folder), text);
}

std::optional<SweepManifest> manifest_of(const fs::path& folder) {
  if (!fs::exists(manifest_file(folder))) return std::nullopt;
  return read_manifest(folder);
}

}  // namespace

SweepManifest write_sweep(const std::string& name, const fs::path& folder,
                          const std::string& baseline, std::vector<PlannedRun> runs) {
  auto sweep = checked_sweep(name, folder, baseline, std::move(runs));
  settle(sweep, manifest_of(folder));
  return std::move(sweep.manifest);
}

SweepManifest prepare_sweep(const YamlDocument& document) {
  const auto base = document.run_config();
  const auto config = document.sweep_config();
  std::vector<PlannedRun> runs;
  for (const auto& plan : expand(config)) runs.push_back(planned_run(document, plan));
  auto sweep = checked_sweep(base.name, base.output,
                             config.groups.empty() ? "run" : config.baseline, std::move(runs));
  const auto before = manifest_of(sweep.manifest.folder);
  if (before) check_frozen(*before, sweep.manifest.hash);
  settle(sweep, before);
  return std::move(sweep.manifest);
}

}  // namespace blockwise
