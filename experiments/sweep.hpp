// Sweeps on disk: the frozen manifest and the members as processes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/config_yaml.hpp"
#include "experiments/run_recorder.hpp"

namespace blockwise {

struct SweepMember {
  MemberPlan plan;
  std::string config;  // relative to the sweep's folder
  std::string run;
  std::int64_t steps = 0;
};

struct SweepManifest {
  std::string name;
  std::string hash;      // of all members' configurations
  std::string baseline;  // group
  std::filesystem::path folder;
  std::vector<SweepMember> members;
};

// A member before it has a folder: its configuration but for seed, name and output, which come from
// the plan.
struct PlannedRun {
  MemberPlan plan;
  RunConfig config;
};

// A sweep of these runs: checks every one as `train` would and writes manifest.json, the members'
// config.yaml and index.h5. May be called again with more runs, as a search does that decides from
// results what to run next.
SweepManifest write_sweep(const std::string& name, const std::filesystem::path& folder,
                          const std::string& baseline, std::vector<PlannedRun> runs);

// Expands the sweep, checks every member as `train` would, and writes manifest.json, the members'
// config.yaml and index.h5 (external links to their run files). A folder that has a manifest keeps
// it: throws InputError when the sweep expands to something else by now.
SweepManifest prepare_sweep(const YamlDocument& document);

struct SweepOutcome {
  std::int64_t finished = 0;
  std::int64_t diverged = 0;
  std::int64_t failed = 0;
  std::int64_t unfinished = 0;  // interrupted, or not started when the sweep was stopped
};

std::filesystem::path log_file(const SweepManifest& sweep, const SweepMember& member);

// Runs every member that is not finished or diverged as a process of `program`, `jobs` at a time,
// each with an equal share of the threads. Output of a member goes to log.txt in its folder. SIGINT
// and SIGTERM are passed on; members stop at a step boundary and continue next time.
SweepOutcome run_sweep(const SweepManifest& sweep, const std::string& program, std::int64_t jobs);

}  // namespace blockwise
