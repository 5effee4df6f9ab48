#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/follow_first.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/meet_ranks.hpp"
#include "experiments/commands/member_processes.hpp"
#include "experiments/commands/next_step.hpp"
#include "experiments/commands/stop_report.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/run_source.hpp"
#include "experiments/rates/rate_report.hpp"
#include "experiments/rates/rate_search.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/sweeps/training_oracle.hpp"
#include "experiments/terminal/progress.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"

namespace blockwise {
namespace {

FlagTable flags_of(const SearchLrOptions& options) {
  return {{{"model.from", "--model"},
           {"search_lr.method", "--method"},
           {"trainer.threads", "--threads"}},
          {{options.model, "--model"}, {options.output, "--output"}},
          /*has_set=*/options.config.empty() || !options.model.empty()};
}

// The YAML, or what the folder of the run says.
YamlDocument document_of(const SearchLrOptions& options) {
  if (!options.config.empty()) return YamlDocument::load(options.config);
  require_input(!options.model.empty(), "search-lr: give a YAML file, or --model with a run");
  const auto run = run_folder_of(options.model);
  require_input(run.has_value(),
                "search-lr: --model {} is no run, whose folder would say the data: "
                "give a YAML file, too",
                options.model);
  return run_document(*run, options.model);
}

RunConfig read_config(const SearchLrOptions& options) {
  auto document = document_of(options);
  const auto set = [&](const std::string& key, const std::string& value,
                       const std::string& origin) {
    if (!value.empty()) document.set(key, json_text(value), origin);
  };
  if (!options.config.empty()) set("model.from", options.model, "--model");
  set("search_lr.method", options.method, "--method");
  for (const auto& assignment : options.assignments) document.set(assignment);
  print_note(document.moved_note());
  auto config = document.run_config();
  if (options.threads >= 0) config.trainer.threads = options.threads;
  config.output = output_of(options.output, config.output + "-rates");
  return config;
}

void print_plan(const ResolvedRateSearch& search) {
  const auto& rates = search.config.search_lr;
  const auto& hessian = search.config.hessian;
  auto text = fmt::format("{} parameters in {} blocks", search.layout.size(),
                          search.partition.block_count());
  if (rates.needs_products()) {
    text += fmt::format(
        "; at most {} products with the Hessian for {} rates, about {:.0f} gradients; {:.3f} GiB{}",
        search.curvature_work.products, search.targets.size(),
        work_cost(search.curvature_work, hessian), double(search.memory.peak) / double(1 << 30),
        in_files(search.memory));
  }
  if (rates.by_trials()) {
    text += fmt::format("; up to {} training runs of {} steps", rates.max_trials,
                        rates.trial_steps > 0 ? rates.trial_steps : search.config.trainer.steps);
  }
  text += "\n";
  if (rates.needs_gradients()) {
    text += fmt::format("mean(v): {}; about {:.0f} gradients of {} examples\n",
                        moment_text(search.moment_batches), work_cost(search.moment_work, hessian),
                        hessian.batches * hessian.batch_size);
  }
  print_words(text);
}

// Measured rates are rates; those of trials multiply the run's own.
std::vector<std::string> settings_of(const ResolvedRateSearch& search, const std::string& file) {
  const auto& method = search.config.search_lr.method;
  const auto rates = "optimizer.block_lr=" + file;
  if (method == "coordinate") return {rates};
  if (method == "leave_out") {
    return {rates, fmt::format("optimizer.partition.file={}/partition.yaml", search.config.output)};
  }
  return {rates, "optimizer.rule=blockwise_sgd", "optimizer.learning_rate=0.5"};
}

void print_outcome(const SearchLrOptions& options, const ResolvedRateSearch& search,
                   const RateSearchOutcome& outcome) {
  fmt::print("{}", rate_report(search, outcome, options.tables.columns()));
  if (outcome.exhausted) {
    print_words("max_trials ended the search; this is what it had found. With more it goes on.\n");
  }
  if (outcome.file.empty()) return;
  fmt::print("Rates {}\n", outcome.file);
  print_command("Next:", next_step({options.config, options.model, options.assignments},
                                   settings_of(search, outcome.file)));
}

void print_json(const RateSearchOutcome& outcome) {
  const nlohmann::ordered_json word = {
      {"finished", outcome.finished}, {"exhausted", outcome.exhausted}, {"file", outcome.file}};
  fmt::print("{}\n", json_text(word));
}

int search_lr_command(const SearchLrOptions& options) {
  const auto starter = options.dry_run ? nullptr : member_processes();
  const auto search = resolve_rate_search(read_config(options));
  const auto place = rank_place(::getenv);
  if (place.rank > 0) {
    return follow_first(place, search.config, options.dry_run,
                        [&](const Ranks& ranks) { return serve_rate_search(search, ranks); });
  }
  if (search.config.search_lr.needs_products()) print_note(search.memory.note);
  if (!options.json) print_plan(search);
  if (options.dry_run) return 0;
  print_note(thread_note(search.config.trainer.threads));
  if (search.config.search_lr.by_trials()) print_note(jobs_note(options.jobs));
  const Ranks ranks = meet_ranks(place, search.config);
  install_stop_handlers("product, or this step of each trial");
  RateSearchOutcome outcome;
  {
    Progress bar("rates", search.units());
    TrainingOracle trials(std::filesystem::path(search.config.output) / "trials", *starter,
                          options.jobs, stop_requested);
    const auto observe = [&](std::int64_t done, const std::string& what) {
      bar.update(done, what);
      if (done == search.units()) bar.finish();
    };
    outcome = search_rates(search, trials, observe, stop_requested, ranks);
  }
  if (options.json) {
    print_json(outcome);
  } else if (outcome.finished) {
    print_outcome(options, search, outcome);
  }
  return outcome.finished ? kExitFinished : report_stop(options.json);
}

}  // namespace

int run_verb(const SearchLrOptions& options) {
  const auto search = [&] { return search_lr_command(options); };
  return run_with_flag_hints(flags_of(options), search);
}

}  // namespace blockwise
