#include "experiments/run_start.hpp"

#include <algorithm>
#include <cstdio>

#include "core/error.hpp"
#include "experiments/printable_text.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

void print_note(const std::string& note) { fmt::print(stderr, "note: {}\n", printable(note)); }

// Whether what is there has come to its end under what is wanted, too. A loss that ended a run may
// be allowed by another bound.
bool is_over(const PastRun& past, const ResolvedRun& run, const Continuation& going) {
  if (!past.result) return false;
  const auto& changes = going.identity.history.changes;
  const auto known = past.identity.history.changes.size();
  const bool other_bound =
      std::any_of(changes.begin() + static_cast<std::ptrdiff_t>(known), changes.end(),
                  [](const auto& change) { return change.key.starts_with("trainer.divergence_"); });
  if (past.result->state == RunState::diverged) return !other_bound;
  return past.result->state == RunState::finished &&
         past.result->last_step >= run.config.trainer.steps;
}

void set_aside(const fs::path& folder, const PastRun& past) {
  const auto aside = keep_damaged_file(folder);
  print_note(fmt::format(
      "{}: the run goes on from its checkpoint of step {} in a new file, which has no rows before "
      "that{}",
      past.lost, past.steps(),
      aside ? fmt::format("; the damaged one is kept as {}", aside->string()) : ""));
}

}  // namespace

RunStart start_run(const ResolvedRun& run) {
  const fs::path folder = run.config.output;
  const WantedRun wanted{run.config, data_files(run.config)};
  const auto past = find_past_run(folder);
  if (!past) return {new_identity(wanted), {}, std::nullopt, false, std::nullopt};
  const bool finished = past->result && past->result->state == RunState::finished;
  const auto steps = finished ? past->result->last_step : past->steps();
  auto going = continue_run(folder.string(), past->identity, wanted, steps);
  if (is_over(*past, run, going)) return {{}, {}, std::nullopt, true, past->result};
  require_input(!finished || past->checkpoint == steps,
                "{}: the run has finished after step {}, and there is no checkpoint of that step "
                "to go on from",
                folder.string(), steps);
  if (!past->result) set_aside(folder, *past);
  for (const auto& note : going.notes) print_note(note);
  return {std::move(going.identity), std::move(going.hashes), past->checkpoint,
          past->result.has_value(), std::nullopt};
}

}  // namespace blockwise
