// The frozen manifest of a sweep: which members it has, what each is told, and by which hash one
// knows that it did that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/sweep_config.hpp"

namespace blockwise {

struct SweepMember {
  MemberPlan plan;
  std::string config;  // relative to the sweep's folder
  std::string run;
  std::int64_t steps = 0;
  std::string hash;  // config_hash() of its configuration; empty where the manifest has none, being
                     // older than they are
};

struct SweepManifest {
  std::string name;
  std::string hash;      // of all members' configurations
  std::string baseline;  // group
  std::filesystem::path folder;
  std::vector<SweepMember> members;

  bool has_hashes() const;
};

std::filesystem::path manifest_file(const std::filesystem::path& folder);

// JSON: the sweep's name, hash and baseline; of every member id, group, seed, overrides (numbers
// and truth values as such), steps, config_hash and the paths of its files.
std::string manifest_text(const SweepManifest& sweep);

// Throws InputError with the file and the key for a damaged manifest, and for a member whose name
// or files lead out of the sweep's folder.
SweepManifest read_manifest(const std::filesystem::path& folder);

}  // namespace blockwise
