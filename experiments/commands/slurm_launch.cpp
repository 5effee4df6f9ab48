#include "experiments/commands/slurm_launch.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/cluster/sweep_jobs.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/own_program.hpp"
#include "experiments/sweeps/sweep_confirmation.hpp"
#include "experiments/terminal/shell_word.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

JobArray array_of(const SlurmLaunch& launch, const SweepManifest& stage) {
  return {launch.sweep.name,
          {},
          fs::absolute(stage.folder),
          fs::current_path(),
          own_program(),
          launch.at_once,
          launch.lease,
          launch.config.slurm};
}

int print_script(const SweepManifest& stage, JobArray array) {
  array.members = open_members(stage);
  if (array.members.empty()) {
    print_note("every member has ended: there is nothing to submit");
    return 0;
  }
  fs::create_directories(slurm_folder(array.folder));  // Slurm makes no folder for its logs
  fmt::print("{}", job_script(array));
  return 0;
}

std::string submitted_text(const SweepJobs& jobs) {
  if (jobs.submitted == 0) return "Nothing to submit";
  return fmt::format("{} members submitted as job {}", jobs.submitted, fmt::join(jobs.jobs, ", "));
}

void print_jobs(const SlurmLaunch& launch, const SweepManifest& stage, const SweepJobs& jobs) {
  const auto folder = stage.folder.string();
  if (launch.json) {
    const nlohmann::ordered_json word = {{"submitted", jobs.submitted},
                                         {"queued", jobs.queued},
                                         {"ended", jobs.ended},
                                         {"jobs", jobs.jobs},
                                         {"folder", folder}};
    fmt::print("{}\n", json_text(word));
    return;
  }
  print_words(fmt::format(
      "{}; {} were in the queue, {} of {} have ended.\nLogs: {}, {}\nNext: blockwise report {}; "
      "the same command submits what is missing then{}\n",
      submitted_text(jobs), jobs.queued, jobs.ended, stage.members.size(),
      (slurm_folder(stage.folder) / "*.log").string(),
      (stage.folder / "members/*/log.txt").string(), shell_word(folder),
      launch.config.confirm_seeds.empty() ? "" : ", and the confirmations when all have ended"));
}

}  // namespace

int launch_on_slurm(const SlurmLaunch& launch) {
  const auto& seeds = launch.config.confirm_seeds;
  const bool confirms = !seeds.empty() && open_members(launch.sweep).empty();
  const auto stage = confirms ? prepare_confirmation(launch.sweep.folder, seeds) : launch.sweep;
  const auto array = array_of(launch, stage);
  if (launch.export_only) return print_script(stage, array);
  print_jobs(launch, stage, submit_members(stage, array));
  return 0;
}

}  // namespace blockwise
