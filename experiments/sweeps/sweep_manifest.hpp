// The manifest of a sweep: which members it has, what each is told, and by which hash one knows
// that it did that. A sweep grows by members, and those that it has change as runs do: in what does
// not define them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/config/sweep_config.hpp"

namespace blockwise {

struct SweepMember {
  MemberPlan plan;
  std::string config;  // relative to the sweep's folder
  std::string run;
  std::int64_t steps = 0;
  // Of its run (RunIdentity::hash), which is config_hash() of its configuration until something
  // changes that does not define it. Empty where the manifest has none, being older than they are.
  std::string hash;
  std::string yaml;                       // its config.yaml; empty in a manifest that was read
  std::vector<std::string> shorter = {};  // hashes under lengths that it had, before it grew
};

struct SweepManifest {
  std::string name;
  std::string hash;      // of all members' configurations
  std::string baseline;  // group
  std::filesystem::path folder;
  std::vector<SweepMember> members;
  // Those that the sweep's YAML had once and has no more. Their runs stay: no table shows them, but
  // whoever counts what was tried counts them, and they are members again once the YAML has them.
  std::vector<SweepMember> left_out;
  // The best configurations of the groups again, on seeds that chose nothing. They only ever grow
  // in number: one that came out badly stays.
  std::vector<SweepMember> confirmations;

  bool has_hashes() const;
};

std::filesystem::path manifest_file(const std::filesystem::path& folder);

// JSON: the sweep's name, hash and baseline; of every member id, group, seed, overrides (numbers
// and truth values as such), steps, config_hash, shorter_hashes where it grew, and the paths of its
// files; the same of those left out and of the confirmations, where there are any.
std::string manifest_text(const SweepManifest& sweep);

// Throws InputError with the file and the key for a damaged manifest, and for a member whose name
// or files lead out of the sweep's folder.
SweepManifest read_manifest(const std::filesystem::path& folder);

// The sweep in this folder with one member alone, which is one of its members or confirmations,
// and what its config.yaml says now. Throws InputError where there is none of that name.
SweepManifest stage_of_member(const std::filesystem::path& folder, const std::string& id);

}  // namespace blockwise
