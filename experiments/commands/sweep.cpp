#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/io/lease.hpp"
#include "experiments/cluster/slurm.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/member_processes.hpp"
#include "experiments/commands/slurm_launch.hpp"
#include "experiments/commands/sweep_outcome.hpp"
#include "experiments/sweeps/members_at_once.hpp"
#include "experiments/sweeps/sweep.hpp"
#include "experiments/sweeps/sweep_changes.hpp"
#include "experiments/sweeps/sweep_confirmation.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/thread_note.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kMostNamed = 5;

// "a, b, c, d, e and 7 more"
std::string named(const std::vector<SweepMember>& members) {
  std::vector<std::string> names;
  for (const auto& member : members) {
    if (names.size() < kMostNamed) names.push_back(member.plan.id);
  }
  const auto more = members.size() - names.size();
  return fmt::format("{}{}", fmt::join(names, ", "),
                     more > 0 ? fmt::format(" and {} more", more) : "");
}

void note_of_left_out(const SweepManifest& sweep) {
  if (sweep.left_out.empty()) return;
  print_note(fmt::format(
      "{} members of {} are no longer in the file: {}. They stay in the folder; the report leaves "
      "them out of its tables and counts them as tried.",
      sweep.left_out.size(), sweep.folder.string(), named(sweep.left_out)));
}

int dry_run(const YamlDocument& document) {
  const auto plan = plan_sweep(document);
  for (const auto& member : plan.manifest.members) fmt::print("{}\n", member.plan.id);
  print_note(fmt::format("{} members, {} of them new; their configurations and data are in order",
                         plan.manifest.members.size(), plan.added.size()));
  const auto confirm = document.sweep_config().confirm_seeds;
  if (!confirm.empty()) {
    print_note(fmt::format("then the best configuration of each group on the seeds {}",
                           fmt::join(confirm, ", ")));
  }
  for (const auto& note : change_notes(plan.changed)) print_note(note);
  note_of_left_out(plan.manifest);
  return 0;
}

// Whether every member has a result, so that the best ones are known.
bool ended(const SweepOutcome& outcome) {
  if (outcome.failed > 0) {
    print_note(
        fmt::format("no confirmation: {} members failed, so the best configurations are "
                    "not known",
                    outcome.failed));
  }
  return outcome.failed + outcome.unfinished == 0 && outcome.finished > 0;
}

std::int64_t chosen_jobs(std::int64_t asked, const SweepManifest& sweep) {
  if (asked > 0) {
    print_note(jobs_note(asked));
    return asked;
  }
  const auto jobs = members_at_once(sweep);
  if (jobs > 1) {
    print_note(fmt::format("{} members at a time, --jobs N for another number", jobs));
  }
  return jobs;
}

SweepExecution execution_of(const SweepOptions& options, MemberStarter& starter,
                            std::int64_t jobs) {
  return {starter, jobs, std::chrono::seconds(options.lease), OthersMembers::wait_for};
}

int run_here(const SweepOptions& options, MemberStarter& starter, const YamlDocument& document,
             const SweepManifest& sweep) {
  const auto execution = execution_of(options, starter, chosen_jobs(options.jobs, sweep));
  install_stop_handlers("step of each member");
  auto members = sweep.members.size();
  auto outcome = run_sweep(sweep, execution, stop_requested);
  const auto seeds = document.sweep_config().confirm_seeds;
  if (!seeds.empty() && ended(outcome)) {
    const auto confirmation = prepare_confirmation(sweep.folder, seeds);
    members += confirmation.members.size();
    outcome = sum(outcome, run_sweep(confirmation, execution, stop_requested));
  }
  return report_outcome(sweep, members, outcome, options.json);
}

int sweep_of_file(const SweepOptions& options) {
  auto document = YamlDocument::load(options.config);
  for (const auto& assignment : options.assignments) document.set(assignment);
  if (!options.output.empty()) document.set("output", json_text(options.output), "--output");
  print_note(document.moved_note());
  if (options.dry_run) return dry_run(document);
  const auto starter = member_processes();
  const auto plan = prepare_sweep(document);
  for (const auto& note : change_notes(plan.changed)) print_note(note);
  note_of_left_out(plan.manifest);
  if (options.launcher == "local") return run_here(options, *starter, document, plan.manifest);
  return launch_on_slurm({document.sweep_config(), plan.manifest, options.jobs,
                          std::chrono::seconds(options.lease), options.export_only, options.json});
}

// A task of a job array, which nobody waits for.
int run_member(const SweepOptions& options) {
  const auto starter = member_processes();
  const auto stage = stage_of_member(options.config, options.member);
  auto execution = execution_of(options, *starter, 1);
  execution.others = OthersMembers::leave_alone;
  install_stop_handlers("step");
  const auto outcome = run_sweep(stage, execution, stop_requested);
  const int code = report_outcome(stage, 1, outcome, options.json);
  // Other signals come from who ends the job, or queues it again by itself.
  const bool again = options.requeue && outcome.unfinished > 0 && stop_signal_name() == "SIGUSR1";
  if (again) requeue_own_job();
  return code;
}

int sweep_command(const SweepOptions& options) {
  require_input(!options.export_only || options.launcher == "slurm",
                "--export-only prints the script of --launcher slurm, and there is none without");
  return options.member.empty() ? sweep_of_file(options) : run_member(options);
}

}  // namespace

int run_verb(const SweepOptions& options) {
  const FlagTable flags{{}, {{options.output, "--output"}}, /*has_set=*/false};
  return run_with_flag_hints(flags, [&] { return sweep_command(options); });
}

}  // namespace blockwise
