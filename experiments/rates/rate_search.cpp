#include "experiments/rates/rate_search.hpp"

#include <filesystem>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/output_folder.hpp"
#include "core/memory/device.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/curvature/led_work.hpp"
#include "experiments/rates/rate_files.hpp"
#include "experiments/rates/rate_report.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Result = PairedTrials::Result;

Result search_groups(const ResolvedRateSearch& search, PairedTrials& trials,
                     RateSearchOutcome& outcome) {
  const auto& config = search.config.search_lr;
  auto found = coordinate_search(
      {search.partition, rate_groups(search.layout, search.partition, config.groups),
       config.factors(), config.passes,
       [&](const BlockRates& rates) { return rates_arm(search, search.partition, rates); }},
      trials);
  outcome.groups = std::move(found.groups);
  if (found.result == Result::stopped) return found.result;
  outcome.file = write_rates(search, search.partition,
                             times_rate_of_run(search, rates_of(search.partition, outcome.groups)));
  return found.result;
}

Result leave_out(const ResolvedRateSearch& search, PairedTrials& trials,
                 RateSearchOutcome& outcome) {
  for (const auto count : search.config.search_lr.left_out) {
    const auto found = search_left_out(search, count, outcome.measured.rates, trials);
    if (found.result != Result::measured) return found.result;
    outcome.left_out.push_back(found.left_out);
    outcome.file = write_left_out(search, found.left_out);
  }
  return Result::measured;
}

void search_by_method(const ResolvedRateSearch& search, LossOracle& oracle, WorkMeter& meter,
                      const Ranks& ranks, RateSearchOutcome& outcome) {
  const auto& config = search.config.search_lr;
  outcome.measured = measure_rates(search, meter, ranks);
  PairedTrials trials(oracle, {config.max_trials, config.trial_seeds});
  auto result = Result::measured;
  if (config.method == "coordinate") {
    result = search_groups(search, trials, outcome);
  } else if (config.method == "leave_out") {
    result = leave_out(search, trials, outcome);
  } else {
    outcome.file =
        write_rates(search, search.partition, block_rates(search, outcome.measured.rates));
  }
  if (result == Result::stopped) throw Stopped();
  outcome.exhausted = result == Result::exhausted;
  write_file_atomically(fs::path(search.config.output) / "rates.csv", rate_table(search, outcome));
  forget_measured_rates(search);
  outcome.finished = true;
  outcome.work = meter.done();
}

void require_no_trials(const ResolvedRateSearch& search, const Ranks& ranks) {
  const auto& config = search.config.search_lr;
  require_input(ranks.is_alone() || !config.by_trials(),
                "search_lr.method: {} is by training runs, each a process of its own; start it "
                "once, without the launcher of {} processes",
                config.method, ranks.size());
}

}  // namespace

RateSearchOutcome search_rates(const ResolvedRateSearch& search, LossOracle& oracle,
                               const WorkObserver& observe, const StopQuery& stop,
                               const Ranks& ranks) {
  require_no_trials(search, ranks);
  const OutputFolder taken(search.config.output);
  write_file_atomically(fs::path(search.config.output) / "config.yaml", to_yaml(search.config));
  set_threads(search.config.trainer.threads);
  WorkMeter meter(observe, stop);
  RateSearchOutcome outcome;
  try {
    search_by_method(search, oracle, meter, ranks, outcome);
  } catch (const Stopped&) {
    // What had been measured is in the folder.
  }
  lead_end(ranks, outcome.finished);
  return outcome;
}

RunState serve_rate_search(const ResolvedRateSearch& search, const Ranks& ranks) {
  require_no_trials(search, ranks);
  set_threads(search.config.trainer.threads);
  return serve_rates(search, ranks) != 0 ? RunState::finished : RunState::interrupted;
}

}  // namespace blockwise
