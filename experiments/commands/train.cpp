#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/io/lease_keeper.hpp"
#include "core/partition/partition_report.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/meet_ranks.hpp"
#include "experiments/commands/stop_report.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/progress.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"
#include "experiments/training/fork.hpp"
#include "experiments/training/run_start.hpp"
#include "experiments/training/trainer.hpp"

namespace blockwise {
namespace {

RunConfig read_config(const TrainOptions& options) {
  auto document = YamlDocument::load(options.config);
  for (const auto& assignment : options.assignments) document.set(assignment);
  require_input(!document.has_sweep(),
                "{}: this file has a section 'sweep': run it with `blockwise sweep {}`",
                options.config, options.config);
  if (!options.progress_lines) print_note(document.moved_note());
  auto config = document.run_config();
  config.output = output_of(options.output, config.output);
  if (options.threads >= 0) config.trainer.threads = options.threads;
  return config;
}

void print_plan(const ResolvedRun& run, std::size_t width) {
  const auto partition = run.config.optimizer.make_partition(run.layout);
  fmt::print("{}\n# configuration hash {}\n\n{}", to_yaml(run.config), run.hash,
             partition_table(run.layout, partition, width));
}

// For a sweep that reads this process's output: "progress STEP LOSS TOKENS_PER_SECOND", five a
// second. Where the sweep is gone nobody reads, and the run goes on.
StepObserver line_observer() {
  std::signal(SIGPIPE, SIG_IGN);
  auto last = std::make_shared<std::chrono::steady_clock::time_point>();
  return [last](const StepRecord& row) {
    const auto now = std::chrono::steady_clock::now();
    if (now - *last < std::chrono::milliseconds(200)) return;
    *last = now;
    const auto line = fmt::format("progress {} {} {}\n", row.step, row.loss, row.tokens_per_second);
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
  };
}

StepObserver bar_observer(const ResolvedRun& run) {
  const auto& config = run.config;
  std::shared_ptr<Progress> bar;
  return [bar, name = config.name, steps = config.trainer.steps](const StepRecord& row) mutable {
    if (!bar) bar = std::make_shared<Progress>(name, steps, row.step);
    bar->update(row.step, fmt::format("loss {:.4f} | lr {:.2e} | {:.1f}k tok/s", row.loss,
                                      row.learning_rate, row.tokens_per_second / 1000.0));
  };
}

// "pages: 12.3 GB read, 12.4 GB written, 4.2 s waited, 0.17 s per GB"
std::string paging_text(const PagingReport& paging) {
  const double read = double(paging.bytes_read) / 1e9, written = double(paging.bytes_written) / 1e9;
  const double moved = read + written;
  return fmt::format(
      "pages: {:.3g} GB read, {:.3g} GB written, {:.3g} s waited{}\n", read, written,
      paging.seconds_waited,
      moved > 0.0 ? fmt::format(", {:.3g} s per GB", paging.seconds_waited / moved) : "");
}

void print_outcome(const ResolvedRun& run, const RunOutcome& outcome, bool json) {
  const auto& state = run_state_names()[static_cast<std::size_t>(outcome.state)];
  const auto file = run.config.output + "/run.h5";
  if (json) {
    nlohmann::ordered_json word = {{"state", state},
                                   {"step", outcome.step},
                                   {"training_loss", outcome.training_loss},
                                   {"validation_loss", outcome.validation_loss},
                                   {"message", outcome.message},
                                   {"run", file}};
    if (outcome.paging) {
      word["paging"] = {{"bytes_read", outcome.paging->bytes_read},
                        {"bytes_written", outcome.paging->bytes_written},
                        {"seconds_waited", outcome.paging->seconds_waited}};
    }
    fmt::print("{}\n", json_text(word));
    return;
  }
  if (outcome.paging) print_words(paging_text(*outcome.paging));
  print_words(fmt::format(
      "{}: {} after step {}, training loss {:.4f}, validation loss {:.4f}\n{}The run "
      "is in {}\n",
      run.config.name, state, outcome.step, outcome.training_loss, outcome.validation_loss,
      outcome.message.empty() ? "" : printable(outcome.message) + "\n", file));
}

int train_command(const TrainOptions& options) {
  std::unique_ptr<LeaseKeeper> lease;
  if (!options.claim.empty()) lease = keep_lease_taken_by(options.claim_holder, options.claim);
  auto run = resolve(read_config(options));
  run.from = options.from;
  if (options.dry_run) {
    if (!run.from.empty()) open_fork(run.from, wanted_run(run), run.layout);
    print_plan(run, options.tables.columns());
    return 0;
  }
  const auto place = rank_place(::getenv);
  if (!options.progress_lines && place.rank == 0) {
    print_note(thread_note(run.config.trainer.threads));
  }
  const Ranks ranks = meet_ranks(place, run.config);
  install_stop_handlers("step");
  if (!ranks.is_first()) return exit_code_of(train(run, {}, ranks).state);
  // The observer dies, and with it the bar, before the outcome is printed.
  const auto outcome = train(run,
                             {options.progress_lines ? line_observer() : bar_observer(run),
                              stop_requested, stop_signal_name},
                             ranks);
  print_outcome(run, outcome, options.json);
  if (outcome.state == RunState::interrupted) return report_stop(options.json);
  return exit_code_of(outcome.state);
}

}  // namespace

int run_verb(const TrainOptions& options) {
  const FlagTable flags{{{"trainer.threads", "--threads"}},
                        {{options.output, "--output"}},
                        /*has_set=*/false};
  return run_with_flag_hints(flags, [&] { return train_command(options); });
}

}  // namespace blockwise
