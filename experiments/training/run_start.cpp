#include "experiments/training/run_start.hpp"

#include <cstdio>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_mend.hpp"
#include "core/io/input_file.hpp"
#include "core/pretrained/companion_files.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/data_files.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/training/fork.hpp"
#include "experiments/training/run_end.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

void print_note(const std::string& note) { fmt::print(stderr, "note: {}\n", printable(note)); }

void set_aside(const fs::path& folder, const PastRun& past) {
  const auto aside = keep_damaged_file(folder);
  print_note(fmt::format(
      "{}: the run goes on from its checkpoint of step {} in a new file, which has no rows before "
      "that{}",
      past.lost, past.steps(),
      aside ? fmt::format("; the damaged one is kept as {}", aside->string()) : ""));
}

void print_notes(const std::vector<std::string>& notes) {
  for (const auto& note : notes) print_note(note);
}

// A run that is over is known from now on by the paths and intervals that it was last given.
void keep_identity(const fs::path& folder, const Continuation& going) {
  mend_hdf5(folder / "run.h5");
  if (going.changes.empty()) return;
  record_identity(folder / "run.h5", going.identity);
  keep_config(folder, going.identity.config_yaml);
}

RunStart::Checkpoint checkpoint_of(const Fork& fork) {
  return {fork.checkpoint, fork.origin.step, {fork.source.hash}};
}

// What the other run's model had brought along.
void keep_tokenizer(const Fork& fork, const fs::path& folder) {
  const auto run = fs::canonical(fork.checkpoint).parent_path().parent_path();
  const auto kept = read_companions(run / "pretrained");
  if (kept) write_companions(*kept, folder / "pretrained");
}

RunStart new_run(const ResolvedRun& run, const WantedRun& wanted) {
  RunStart start;
  if (run.from.empty()) {
    start.identity = new_identity(wanted);
    return start;
  }
  const auto fork = open_fork(run.from, wanted, run.layout);
  print_notes(fork.notes);
  keep_tokenizer(fork, run.config.output);
  start.identity = new_identity(wanted, fork.origin);
  start.checkpoint = checkpoint_of(fork);
  start.forked = true;
  return start;
}

// Its newest checkpoint; the one that it starts from, where it was stopped before it had one.
void find_checkpoint_to_load(RunStart& start, const ResolvedRun& run, const PastRun& past,
                             const WantedRun& wanted) {
  const auto& origin = start.identity.history.origin;
  if (past.checkpoint) {
    const auto folder = checkpoint_folder(run.config.output, *past.checkpoint);
    start.checkpoint = {folder, *past.checkpoint, start.hashes};
  } else if (origin) {
    start.checkpoint = checkpoint_of(reopen_fork(*origin, wanted, run.layout));
    start.forked = true;
  }
}

}  // namespace

void keep_config(const fs::path& folder, const std::string& yaml) {
  const auto path = folder / "config.yaml";
  if (input_exists(path) && read_text_file(path) == yaml) return;
  write_file_atomically(path, yaml);
}

WantedRun wanted_run(const ResolvedRun& run) { return {run.config, data_files(run.config)}; }

RunStart start_run(const ResolvedRun& run) {
  const fs::path folder = run.config.output;
  const auto wanted = wanted_run(run);
  const auto past = find_past_run(folder);
  if (!past) return new_run(run, wanted);
  require_origin(folder, past->identity, run.from);
  const bool finished = past->result && past->result->state == RunState::finished;
  const auto steps = finished ? past->result->last_step : past->steps();
  auto going = continue_run(folder.string(), past->identity, wanted, steps);
  RunStart start;
  if (past->result && is_over(*past->result, to_yaml(run.config))) {
    keep_identity(folder, going);
    start.over = past->result;
    return start;
  }
  require_input(!finished || past->checkpoint == steps,
                "{}: the run has finished after step {}, and there is no checkpoint of that step "
                "to go on from",
                folder.string(), steps);
  if (!past->result) set_aside(folder, *past);
  print_notes(going.notes);
  start.identity = std::move(going.identity);
  start.hashes = std::move(going.hashes);
  start.has_file = past->result.has_value();
  find_checkpoint_to_load(start, run, *past, wanted);
  return start;
}

}  // namespace blockwise
