#include "experiments/sweeps/sweep_manifest.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/json_view.hpp"
#include "core/text/printable_text.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Numbers and truth values as such, so that a reader of the manifest needs no YAML.
Json typed(const std::string& scalar) {
  const auto parsed = Json::parse(scalar, nullptr, false);
  if (parsed.is_number() || parsed.is_boolean()) return parsed;
  double number = 0.0;
  const auto result = std::from_chars(scalar.data(), scalar.data() + scalar.size(), number);
  const bool is_number = result.ec == std::errc() && result.ptr == scalar.data() + scalar.size();
  return is_number && std::isfinite(number) ? Json(number) : Json(scalar);
}

Json member_json(const SweepMember& member) {
  Json overrides = Json::object();
  for (const auto& [path, value] : member.plan.overrides) overrides[path] = typed(value);
  Json json = {{"id", member.plan.id},     {"group", member.plan.group},
               {"seed", member.plan.seed}, {"overrides", overrides},
               {"steps", member.steps},    {"config_hash", member.hash},
               {"config", member.config},  {"run", member.run}};
  if (!member.shorter.empty()) json["shorter_hashes"] = member.shorter;
  return json;
}

// A path that stays below the folder it is relative to.
std::string inner_path(const JsonView& view) {
  const auto text = view.text();
  const fs::path path(text);
  const bool inside = !text.empty() && path.is_relative() && printable(text) == text &&
                      std::ranges::none_of(path, [](const auto& part) { return part == ".."; });
  if (!inside) view.fail(fmt::format("is '{}', no path inside the sweep's folder", text));
  return text;
}

std::string name(const JsonView& view) {
  auto text = view.text();
  const auto problem = name_problem(text);
  if (!problem.empty()) view.fail("is no name: " + problem);
  return text;
}

SweepMember read_member(const JsonView& json) {
  SweepMember member;
  member.config = inner_path(json.at("config"));
  member.run = inner_path(json.at("run"));
  member.plan.id = name(json.at("id"));
  member.plan.group = name(json.at("group"));
  member.plan.seed = json.at("seed").whole(0);
  for (const auto& [path, value] : json.at("overrides").entries()) {
    const bool is_text = value.value().is_string();
    member.plan.overrides.emplace_back(path, is_text ? value.text() : value.value().dump());
  }
  if (json.has("steps")) member.steps = json.at("steps").whole(0);
  if (json.has("config_hash")) member.hash = json.at("config_hash").text();
  if (json.has("shorter_hashes")) {
    for (const auto& hash : json.at("shorter_hashes").items()) {
      member.shorter.push_back(hash.text());
    }
  }
  return member;
}

std::vector<SweepMember> read_members(const JsonView& list) {
  std::vector<SweepMember> members;
  for (const auto& member : list.items()) members.push_back(read_member(member));
  return members;
}

}  // namespace

bool SweepManifest::has_hashes() const {
  return std::ranges::none_of(members, &std::string::empty, &SweepMember::hash);
}

fs::path manifest_file(const fs::path& folder) { return folder / "manifest.json"; }

std::string manifest_text(const SweepManifest& sweep) {
  Json json = {{"format", "blockwise-sweep"}, {"version", 1},
               {"name", sweep.name},          {"hash", sweep.hash},
               {"baseline", sweep.baseline},  {"members", Json::array()}};
  for (const auto& member : sweep.members) json["members"].push_back(member_json(member));
  for (const auto& member : sweep.left_out) json["left_out"].push_back(member_json(member));
  for (const auto& member : sweep.confirmations) {
    json["confirmations"].push_back(member_json(member));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

SweepManifest read_manifest(const fs::path& folder) {
  const auto path = manifest_file(folder);
  const auto document = read_json_file(path);
  const JsonView json(document, path);
  const auto format = json.at("format").text();
  require_input(format == "blockwise-sweep", "{}: not the manifest of a sweep: its format is '{}'",
                path.string(), format);
  const auto version = json.at("version").whole();
  require_input(version == 1, "{}: version {}, this program reads 1", path.string(), version);
  SweepManifest sweep{json.at("name").text(),
                      json.at("hash").text(),
                      json.at("baseline").text(),
                      folder,
                      {},
                      {},
                      {}};
  sweep.members = read_members(json.at("members"));
  if (json.has("left_out")) sweep.left_out = read_members(json.at("left_out"));
  if (json.has("confirmations")) sweep.confirmations = read_members(json.at("confirmations"));
  return sweep;
}

SweepManifest stage_of_member(const fs::path& folder, const std::string& id) {
  auto sweep = read_manifest(folder);
  for (const auto* members : {&sweep.members, &sweep.confirmations}) {
    const auto found = std::ranges::find(*members, id, [](const auto& m) { return m.plan.id; });
    if (found == members->end()) continue;
    auto member = *found;
    member.yaml = read_text_file(folder / member.config);
    sweep.members = {std::move(member)};
    return sweep;
  }
  throw InputError(fmt::format("{}: has no member '{}'", manifest_file(folder).string(), id));
}

}  // namespace blockwise
