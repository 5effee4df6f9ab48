#include "experiments/sweep.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/sha256.hpp"
#include "experiments/config_text.hpp"
#include "experiments/trainer.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct PlannedMember {
  SweepMember member;
  std::string yaml;
};

// Numbers and truth values as such, so that a reader of the manifest needs no YAML.
Json typed(const std::string& scalar) {
  const auto parsed = nlohmann::json::parse(scalar, nullptr, false);
  if (parsed.is_number() || parsed.is_boolean()) return parsed;
  double number = 0.0;
  const auto result = std::from_chars(scalar.data(), scalar.data() + scalar.size(), number);
  if (result.ec == std::errc() && result.ptr == scalar.data() + scalar.size()) return number;
  return scalar;
}

PlannedMember plan_member(const YamlDocument& document, const MemberPlan& plan,
                          const fs::path& folder) {
  auto own = document.clone();
  for (const auto& [path, value] : plan.overrides) {
    own.set(path, value, fmt::format("sweep member {}: {}={}", plan.id, path, value));
  }
  own.set("seed", fmt::format("{}", plan.seed), "sweep seeds");
  auto config = own.run_config();
  config.name = plan.id;
  config.output = (folder / "members" / plan.id).string();
  const auto run = resolve(std::move(config));
  run.config.optimizer.make_partition(
      run.layout);  // an uncovered tensor is an error now, not later
  const auto relative = fs::path("members") / plan.id;
  return {{plan, (relative / "config.yaml").string(), (relative / "run.h5").string(),
           run.config.trainer.steps},
          to_yaml(run.config)};
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
  const auto json = nlohmann::json::parse(read_text_file(path), nullptr, false);
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

}  // namespace

SweepManifest prepare_sweep(const YamlDocument& document) {
  const auto base = document.run_config();
  const auto config = document.sweep_config();
  SweepManifest sweep;
  sweep.name = base.name;
  sweep.folder = base.output;
  sweep.baseline = config.groups.empty() ? "run" : config.baseline;
  std::vector<std::string> yamls;
  for (const auto& plan : expand(config)) {
    auto planned = plan_member(document, plan, sweep.folder);
    sweep.members.push_back(std::move(planned.member));
    yamls.push_back(std::move(planned.yaml));
  }
  sweep.hash = sha256(fmt::format("{}", fmt::join(yamls, "---\n"))).substr(0, 16);
  const auto manifest = sweep.folder / "manifest.json";
  if (fs::exists(manifest)) {
    check_frozen(manifest, sweep.hash);
    return sweep;
  }
  for (std::size_t i = 0; i < yamls.size(); ++i) {
    fs::create_directories((sweep.folder / sweep.members[i].config).parent_path());
    write_file_atomically(sweep.folder / sweep.members[i].config, yamls[i]);
  }
  write_index(sweep);
  write_file_atomically(manifest, to_json(sweep).dump(2) + "\n");
  return sweep;
}

}  // namespace blockwise
