// Sweeps on disk: the manifest and the members as processes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/stop_query.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/member_starter.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"
#include "experiments/sweeps/sweep_member_check.hpp"

namespace blockwise {

// A member before it has a folder: its configuration but for seed, name and output, which come from
// the plan.
struct PlannedRun {
  MemberPlan plan;
  RunConfig config;
};

// A sweep of these runs: checks every one as `train` would and writes the members' config.yaml,
// index.h5 (external links to their run files) and, when all of those are there, manifest.json. So
// a folder with a manifest was prepared whole; one without is prepared again from the start. May be
// called again with more runs, as a search does that decides from results what to run next.
//
// Members that are there already change as runs do (sweep_member_check.hpp): throws InputError
// naming the member and the keys for one that is to be another run.
SweepManifest write_sweep(const std::string& name, const std::filesystem::path& folder,
                          const std::string& baseline, std::vector<PlannedRun> runs);

// What a file's sweep comes to beside what its folder holds.
struct SweepPlan {
  SweepManifest manifest;
  std::vector<std::string> added;  // ids that the folder's manifest does not have yet
  std::vector<MemberChange> changed;
};

// Expands the sweep and checks all that write_sweep() does, but writes nothing.
SweepPlan plan_sweep(const YamlDocument& document);

// plan_sweep(), and writes it as write_sweep() does. Members that are there stay, and are rewritten
// where what does not define them changes: the manifest gets the new ones, and those that the file
// has no more are left out (SweepManifest::left_out). While another process prepares the same
// folder this waits for it.
SweepPlan prepare_sweep(const YamlDocument& document);

// Adds runs to the manifest of a folder as its confirmations. The sweep of these runs alone. Throws
// as write_sweep() does, and where a seed is one of the sweep's own.
SweepManifest add_confirmations(const std::filesystem::path& folder, std::vector<PlannedRun> runs);

struct SweepOutcome {
  std::int64_t finished = 0;
  std::int64_t diverged = 0;
  std::int64_t failed = 0;
  std::int64_t unfinished = 0;  // interrupted, or not started when the sweep was stopped
};

// Runs every member that has not ended (is_over() of run_end.hpp) as a process of its own, `jobs`
// at a time, each with an equal share of the threads. Output of a member goes to log.txt in its
// folder. A stop is passed on as a signal; members stop at a step boundary and continue
// next time. A member whose folder or config.yaml was deleted meanwhile gets them back. One that
// fails is told with its own last line, the others go on.
//
// Several sweeps of one folder share its members: one that another process runs is left to it, and
// taken over where that process ends without a result.
SweepOutcome run_sweep(const SweepManifest& sweep, MemberStarter& starter, std::int64_t jobs,
                       const StopQuery& stop);

}  // namespace blockwise
