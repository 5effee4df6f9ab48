// What a run is, as its file and its checkpoints say it: by this a folder's run is known again.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "core/io/json_view.hpp"
#include "experiments/records/data_file.hpp"

namespace blockwise {

// A key that has another value from a step on; `after` holds for that step. A value is as it is
// written in YAML; empty where there was no such key.
struct ConfigChange {
  std::int64_t from_step = 1;
  std::string key, before, after;
};

// The checkpoint that a run starts from instead of fresh parameters.
struct RunOrigin {
  std::string path;         // as it was given
  std::string config_hash;  // of the run that wrote it
  std::string sha256;       // of its checkpoint.json, which holds those of its files
  std::int64_t step = 0;
  std::int64_t first_example = 0;  // of the training data, that the run reads
  std::int64_t tokens = 0;         // seen before
};

struct RunHistory {
  std::vector<ConfigChange> changes;  // in their order
  std::vector<DataFile> data;         // empty in files of an earlier version
  std::optional<RunOrigin> origin;
};

struct RunIdentity {
  std::string config_yaml;  // as it holds now
  // config_hash() of the configuration with the lengths of now and everything else as it was at the
  // start: what does not define a run does not change it. Mixed with the origin's where there is
  // one.
  std::string hash;
  RunHistory history;
  bool has_curvature = false;  // the run file has tables for it
};

// In a run file: /config (yaml, hash), and where there is any of it /config/changes and
// /config/data, equally long columns, and /origin, attributes. Replaces what is there, so before
// start_swmr().
void write_identity(Hdf5File& file, const RunIdentity& identity);
void write_history(Hdf5File& file, const RunHistory& history);
// Throws InputError where something is damaged.
RunIdentity read_identity(const Hdf5File& file);

// In a checkpoint's marker: {config, changes, data, origin}.
nlohmann::ordered_json identity_json(const RunIdentity& identity);
// `hash` stands beside it. Throws JsonError.
RunIdentity identity_of_json(const JsonView& json, const std::string& hash);

}  // namespace blockwise
