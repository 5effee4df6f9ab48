#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/member_processes.hpp"
#include "experiments/commands/stop_report.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/sweeps/members_at_once.hpp"
#include "experiments/sweeps/sweep.hpp"
#include "experiments/sweeps/sweep_changes.hpp"
#include "experiments/sweeps/sweep_confirmation.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"

namespace blockwise {
namespace {

int print_outcome(const SweepManifest& sweep, std::size_t members, const SweepOutcome& outcome,
                  bool json) {
  if (json) {
    const nlohmann::ordered_json word = {{"finished", outcome.finished},
                                         {"diverged", outcome.diverged},
                                         {"failed", outcome.failed},
                                         {"unfinished", outcome.unfinished},
                                         {"folder", sweep.folder.string()}};
    fmt::print("{}\n", json_text(word));
  } else {
    print_words(fmt::format(
        "{} of {} members finished, {} diverged, {} failed, {} unfinished.\nNext: blockwise "
        "report {}\n",
        outcome.finished, members, outcome.diverged, outcome.failed, outcome.unfinished,
        sweep.folder.string()));
  }
  if (outcome.diverged > 0 && !json) {
    fmt::print("Diverged members are results, not failures: the report shows them.\n");
  }
  if (outcome.unfinished > 0) return report_stop(json);
  return outcome.failed > 0 ? kExitFailed : kExitFinished;
}

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

SweepOutcome sum(const SweepOutcome& a, const SweepOutcome& b) {
  return {a.finished + b.finished, a.diverged + b.diverged, a.failed + b.failed,
          a.unfinished + b.unfinished};
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

int sweep_command(const SweepOptions& options) {
  auto document = YamlDocument::load(options.config);
  for (const auto& assignment : options.assignments) document.set(assignment);
  if (!options.output.empty()) document.set("output", json_text(options.output), "--output");
  print_note(document.moved_note());
  if (options.dry_run) return dry_run(document);
  const auto starter = member_processes();
  const auto plan = prepare_sweep(document);
  for (const auto& note : change_notes(plan.changed)) print_note(note);
  note_of_left_out(plan.manifest);
  const auto jobs = chosen_jobs(options.jobs, plan.manifest);
  install_stop_handlers("step of each member");
  const auto run = [&](const SweepManifest& sweep) {
    return run_sweep(sweep, *starter, jobs, stop_requested);
  };
  auto members = plan.manifest.members.size();
  auto outcome = run(plan.manifest);
  const auto seeds = document.sweep_config().confirm_seeds;
  if (!seeds.empty() && ended(outcome)) {
    const auto confirmation = prepare_confirmation(plan.manifest.folder, seeds);
    members += confirmation.members.size();
    outcome = sum(outcome, run(confirmation));
  }
  return print_outcome(plan.manifest, members, outcome, options.json);
}

}  // namespace

int run_verb(const SweepOptions& options) {
  const FlagTable flags{{}, {{options.output, "--output"}}, /*has_set=*/false};
  return run_with_flag_hints(flags, [&] { return sweep_command(options); });
}

}  // namespace blockwise
