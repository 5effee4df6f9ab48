#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include "experiments/commands/command.hpp"
#include "experiments/commands/own_program.hpp"
#include "experiments/commands/stop_report.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/sweeps/members_at_once.hpp"
#include "experiments/sweeps/report.hpp"
#include "experiments/sweeps/sweep.hpp"
#include "experiments/sweeps/sweep_confirmation.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

struct ReportOptions {
  std::string folder;
  CLI::Option* confirm = nullptr;
  std::vector<std::int64_t> seeds;
  std::int64_t jobs = 0;
  bool csv = false;
  bool json = false;
  TableWidth tables;
};

// Without a number the option's only word is an empty one.
std::vector<std::int64_t> chosen_seeds(const ReportOptions& options) {
  const auto words = options.confirm->results();
  const bool named = std::ranges::any_of(words, [](const auto& word) { return !word.empty(); });
  return named ? options.seeds : confirmation_seeds(options.folder);
}

// The exit code of what it ran.
int run_confirmation(const ReportOptions& options) {
  const auto seeds = chosen_seeds(options);
  const auto sweep = prepare_confirmation(options.folder, seeds);
  install_stop_handlers("step of each run");
  const auto jobs = options.jobs > 0 ? options.jobs : members_at_once(sweep);
  const auto outcome = run_sweep(sweep, {own_program(), jobs}, stop_requested);
  if (outcome.unfinished > 0) return report_stop(true);  // the report has standard output
  return outcome.failed > 0 ? kExitFailed : kExitFinished;
}

int report_command(const ReportOptions& options) {
  const int code = options.confirm->count() > 0 ? run_confirmation(options) : kExitFinished;
  const auto report = make_report(options.folder);
  fmt::print("{}", options.csv    ? report_csv(report)
                   : options.json ? report_json(report)
                                  : report_table(report, options.tables.columns()));
  return code;
}

}  // namespace

CommandAction add_report_options(CLI::App& verb) {
  auto options = std::make_shared<ReportOptions>();
  verb.add_option("folder", options->folder, "folder of a sweep or of a run")->required();
  options->confirm =
      verb.add_option("--confirm", options->seeds,
                      "first run the best configuration of each group again on these seeds, which "
                      "chose nothing; without a number on as many as the sweep has")
          ->expected(0, -1)
          ->check(CLI::NonNegativeNumber);
  verb.add_option("--jobs", options->jobs, "with --confirm: runs at a time; 0 as for sweeps")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  auto* csv = verb.add_flag("--csv", options->csv, "one line per configuration, for spreadsheets");
  verb.add_flag("--json", options->json, "everything, for programs")->excludes(csv);
  options->tables.add_flag(verb);
  return [options] { return report_command(*options); };
}

}  // namespace blockwise
