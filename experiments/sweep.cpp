#include "experiments/sweep.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/sha256.hpp"
#include "experiments/config_text.hpp"
#include "experiments/trainer.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Numbers and truth values as such, so that a reader of the manifest needs no YAML.
Json typed(const std::string& scalar) {
  const auto parsed = nlohmann::json::parse(scalar, nullptr, false);
  if (parsed.is_number() || parsed.is_boolean()) return parsed;
  double number = 0.0;
  const auto result = std::from_chars(scalar.data(), scalar.data() + scalar.size(), number);
  if (result.ec == std::errc() && result.ptr == scalar.data() + scalar.size()) return number;
  return scalar;
}

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
                                    (relative / "run.h5").string(), run.config.trainer.steps});
  sweep.yamls.push_back(to_yaml(run.config));
}

CheckedSweep checked_sweep(const std::string& name, const fs::path& folder,
                           const std::string& baseline, std::vector<PlannedRun> runs) {
  CheckedSweep sweep{{name, "", baseline, folder, {}}, {}};
  for (auto& run : runs) add_member(sweep, std::move(run));
  sweep.manifest.hash = sha256(fmt::format("{}", fmt::join(sweep.yamls, "---\n"))).substr(0, 16);
  return sweep;
}

Json to_json(const SweepManifest& sweep) {
  Json json = {{"format", "blockwise-sweep"}, {"version", 1},
               {"name", sweep.name},          {"hash", sweep.hash},
               {"baseline", sweep.baseline},  {"members", Json::array()}};
  for (const auto& member : sweep.members) {
    Json overrides = Json::object();
    for (const auto& [path, value] : member.plan.overrides) overrides[path] = typed(value);
    json["members"].push_back({{"id", member.plan.id},
                               {"group", member.plan.group},
                               {"seed", member.plan.seed},
                               {"overrides", overrides},
                               {"steps", member.steps},
                               {"config", member.config},
                               {"run", member.run}});
  }
  return json;
}

void check_frozen(const fs::path& path, const std::string& hash) {
  const auto json = read_json_file(path);
  require_input(json.is_object() && json.contains("hash") && json["hash"].is_string(),
                "{}: not the manifest of a sweep", path.string());
  require_input(json["hash"].get<std::string>() == hash,
                "{}: the sweep expands to other members than those that were started here. Give it "
                "another `output`, or delete the folder.",
                path.string());
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

void write_files(const CheckedSweep& sweep) {
  const auto& manifest = sweep.manifest;
  for (std::size_t i = 0; i < sweep.yamls.size(); ++i) {
    const auto path = manifest.folder / manifest.members[i].config;
    fs::create_directories(path.parent_path());
    if (!fs::exists(path)) write_file_atomically(path, sweep.yamls[i]);
  }
  write_index(manifest);
  write_file_atomically(manifest.folder / "manifest.json", to_json(manifest).dump(2) + "\n");
}

}  // namespace

SweepManifest write_sweep(const std::string& name, const fs::path& folder,
                          const std::string& baseline, std::vector<PlannedRun> runs) {
  auto sweep = checked_sweep(name, folder, baseline, std::move(runs));
  write_files(sweep);
  return std::move(sweep.manifest);
}

SweepManifest prepare_sweep(const YamlDocument& document) {
  const auto base = document.run_config();
  const auto config = document.sweep_config();
  std::vector<PlannedRun> runs;
  for (const auto& plan : expand(config)) runs.push_back(planned_run(document, plan));
  auto sweep = checked_sweep(base.name, base.output,
                             config.groups.empty() ? "run" : config.baseline, std::move(runs));
  const auto manifest = sweep.manifest.folder / "manifest.json";
  if (fs::exists(manifest)) {
    check_frozen(manifest, sweep.manifest.hash);
  } else {
    write_files(sweep);
  }
  return std::move(sweep.manifest);
}

}  // namespace blockwise
