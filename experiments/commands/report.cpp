#include <fmt/format.h>

#include <vector>

#include "experiments/commands/command.hpp"
#include "experiments/commands/member_processes.hpp"
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

// The exit code of what it ran.
int run_confirmation(const ReportOptions& options) {
  const auto starter = member_processes();
  const auto seeds = options.seeds.empty() ? confirmation_seeds(options.folder) : options.seeds;
  const auto sweep = prepare_confirmation(options.folder, seeds);
  install_stop_handlers("step of each run");
  const auto jobs = options.jobs > 0 ? options.jobs : members_at_once(sweep);
  const auto outcome = run_sweep(sweep, {*starter, jobs}, stop_requested);
  if (outcome.unfinished > 0) return report_stop(true);  // the report has standard output
  return outcome.failed > 0 ? kExitFailed : kExitFinished;
}

}  // namespace

int run_verb(const ReportOptions& options) {
  const int code = options.confirm ? run_confirmation(options) : kExitFinished;
  const auto report = make_report(options.folder);
  fmt::print("{}", options.csv    ? report_csv(report)
                   : options.json ? report_json(report)
                                  : report_table(report, options.tables.columns()));
  return code;
}

}  // namespace blockwise
