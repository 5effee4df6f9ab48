#include "experiments/records/run_identity.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr const char* kChanges = "/config/changes";
constexpr const char* kData = "/config/data";
constexpr const char* kOrigin = "/origin";

// A field of a record, as a column of the run file and as a key of JSON.
template <typename Row>
struct Member {
  const char* name;
  std::variant<std::int64_t Row::*, std::string Row::*> field;
  const char* doc;
};

constexpr Member<ConfigChange> kChangeMembers[] = {
    {"from_step", &ConfigChange::from_step, "first step with the new value"},
    {"key", &ConfigChange::key, "of the configuration"},
    {"before", &ConfigChange::before, "its value in YAML; empty: there was no such key"},
    {"after", &ConfigChange::after, "the same from that step on"}};
constexpr Member<DataFile> kDataMembers[] = {
    {"key", &DataFile::key, "of the configuration, that leads to the file"},
    {"file", &DataFile::file, "as it was when the file was last opened"},
    {"bytes", &DataFile::bytes, "of the file"},
    {"sampled_sha256", &DataFile::sampled_sha256, "of up to 1 MiB that lie evenly over the file"},
    {"manifest_sha256", &DataFile::manifest_sha256, "of the file, by its manifest; may be empty"}};
constexpr Member<RunOrigin> kOriginMembers[] = {
    {"path", &RunOrigin::path, "checkpoint that the run started from"},
    {"config_hash", &RunOrigin::config_hash, "of the run that wrote it"},
    {"sha256", &RunOrigin::sha256, "of its checkpoint.json"},
    {"step", &RunOrigin::step, "steps that it has done"},
    {"first_example", &RunOrigin::first_example, "of the training data, that the run reads"},
    {"tokens", &RunOrigin::tokens, "training tokens seen before"}};

template <typename Row, std::size_t N>
void write_rows(Hdf5File& file, const std::string& group, const Member<Row> (&members)[N],
                const std::vector<Row>& rows) {
  if (file.has(group)) file.remove(group);
  if (rows.empty()) return;
  file.create_group(group);
  for (const auto& member : members) {
    const auto path = fmt::format("{}/{}", group, member.name);
    std::visit(
        [&]<typename T>(T Row::*field) {
          std::vector<T> values(rows.size());
          std::ranges::transform(rows, values.begin(), field);
          if constexpr (std::is_same_v<T, std::string>) {
            file.write_text_column(path, values, "text", member.doc);
          } else {
            file.create_integer_column(path, "1", member.doc);
            file.append(path, std::span<const T>(values));
          }
        },
        member.field);
  }
}

template <typename Row, std::size_t N>
std::vector<Row> read_rows(const Hdf5File& file, const std::string& group,
                           const Member<Row> (&members)[N]) {
  std::vector<Row> rows;
  if (!file.has(group)) return rows;
  for (const auto& member : members) {
    const auto path = fmt::format("{}/{}", group, member.name);
    const auto take = [&](const auto& values, auto field) {
      if (&member == members) rows.resize(values.size());
      require_input(values.size() == rows.size(), "{}: columns of different lengths", group);
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i].*field = values[i];
    };
    if (const auto* number = std::get_if<std::int64_t Row::*>(&member.field)) {
      take(file.integer_column(path), *number);
    } else {
      take(file.text_column(path), std::get<std::string Row::*>(member.field));
    }
  }
  return rows;
}

void write_origin(Hdf5File& file, const RunOrigin& origin) {
  if (!file.has(kOrigin)) file.create_group(kOrigin);
  for (const auto& member : kOriginMembers) {
    std::visit([&](auto field) { file.set_attribute(kOrigin, member.name, origin.*field); },
               member.field);
  }
}

std::optional<RunOrigin> read_origin(const Hdf5File& file) {
  if (!file.has(kOrigin)) return std::nullopt;
  RunOrigin origin;
  for (const auto& member : kOriginMembers) {
    if (const auto* number = std::get_if<std::int64_t RunOrigin::*>(&member.field)) {
      origin.** number = file.integer_attribute(kOrigin, member.name);
    } else {
      origin.*std::get<std::string RunOrigin::*>(member.field) =
          file.text_attribute(kOrigin, member.name);
    }
  }
  return origin;
}

using Json = nlohmann::ordered_json;

template <typename Row, std::size_t N>
Json row_json(const Member<Row> (&members)[N], const Row& row) {
  Json json = Json::object();
  for (const auto& member : members) {
    std::visit([&](auto field) { json[member.name] = row.*field; }, member.field);
  }
  return json;
}

template <typename Row, std::size_t N>
Row row_of_json(const Member<Row> (&members)[N], const JsonView& json) {
  Row row;
  for (const auto& member : members) {
    if (const auto* number = std::get_if<std::int64_t Row::*>(&member.field)) {
      row.** number = json.at(member.name).whole(0);
    } else {
      row.*std::get<std::string Row::*>(member.field) = json.at(member.name).text();
    }
  }
  return row;
}

template <typename Row, std::size_t N>
Json rows_json(const Member<Row> (&members)[N], const std::vector<Row>& rows) {
  Json json = Json::array();
  for (const auto& row : rows) json.push_back(row_json(members, row));
  return json;
}

template <typename Row, std::size_t N>
std::vector<Row> rows_of_json(const Member<Row> (&members)[N], const JsonView& json) {
  std::vector<Row> rows;
  for (const auto& row : json.items()) rows.push_back(row_of_json(members, row));
  return rows;
}

}  // namespace

void write_history(Hdf5File& file, const RunHistory& history) {
  write_rows(file, kChanges, kChangeMembers, history.changes);
  write_rows(file, kData, kDataMembers, history.data);
  if (history.origin) write_origin(file, *history.origin);
}

void write_identity(Hdf5File& file, const RunIdentity& identity) {
  const auto& yaml = identity.config_yaml;
  if (file.text("/config/yaml") != yaml) {
    file.remove("/config/yaml");
    file.create_text("/config/yaml", yaml, yaml.size(), "resolved configuration of the run");
  }
  file.set_attribute("/config", "hash", identity.hash);
  write_history(file, identity.history);
}

RunIdentity read_identity(const Hdf5File& file) {
  return {file.text("/config/yaml"),
          file.text_attribute("/config", "hash"),
          {read_rows(file, kChanges, kChangeMembers), read_rows(file, kData, kDataMembers),
           read_origin(file)},
          file.has("/hessian")};
}

nlohmann::ordered_json identity_json(const RunIdentity& identity) {
  const auto& [changes, data, origin] = identity.history;
  Json json = {{"config", identity.config_yaml},
               {"changes", rows_json(kChangeMembers, changes)},
               {"data", rows_json(kDataMembers, data)}};
  if (origin) json["origin"] = row_json(kOriginMembers, *origin);
  return json;
}

RunIdentity identity_of_json(const JsonView& json, const std::string& hash) {
  RunIdentity identity{json.at("config").text(),
                       hash,
                       {rows_of_json(kChangeMembers, json.at("changes")),
                        rows_of_json(kDataMembers, json.at("data")), std::nullopt},
                       false};
  if (json.has("origin")) {
    identity.history.origin = row_of_json(kOriginMembers, json.at("origin"));
  }
  return identity;
}

}  // namespace blockwise
