// Sweeps on disk: the manifest and the members as processes.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/stop_query.hpp"
#include "core/io/lease.hpp"
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
  std::int64_t unfinished = 0;      // interrupted, or not started when the sweep was stopped
  std::int64_t left_to_others = 0;  // OthersMembers::leave_alone
};

// What becomes of members that another living process runs.
enum class OthersMembers {
  wait_for,    // until they have ended, or may be taken over
  leave_alone  // they are its own
};

struct SweepExecution {
  MemberStarter& starter;
  std::int64_t jobs = 1;                        // members at a time
  std::chrono::seconds lease = Lease::kLength;  // of the claims
  OthersMembers others = OthersMembers::wait_for;
};

// Runs every member that has not ended (has_ended() of member_result.hpp) as a process of the
// program, each with an equal share of the threads. Output of a member goes to log.txt in its
// folder. A stop is passed on as a signal; members stop at a step boundary and continue
// next time. A member whose folder or config.yaml was deleted meanwhile gets them back. One that
// fails is told with its own last line, the others go on.
//
// Several sweeps of one folder, also on several machines, share its members: one that another
// process runs is left to it, and taken over where that process ends without a result, on another
// machine once its lease has run out (core/io/lease.hpp).
SweepOutcome run_sweep(const SweepManifest& sweep, const SweepExecution& execution,
                       const StopQuery& stop);

}  // namespace blockwise
