#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/next_step.hpp"
#include "experiments/config_yaml.hpp"
#include "experiments/progress.hpp"
#include "experiments/rate_report.hpp"
#include "experiments/rate_search.hpp"
#include "experiments/stop_signal.hpp"

namespace blockwise {
namespace {

struct SearchLrOptions {
  std::string config, model, output, method;
  std::vector<std::string> assignments;
  std::int64_t threads = -1;
  std::int64_t jobs = 1;
  bool dry_run = false, json = false;
};

FlagTable flags_of(const SearchLrOptions& options) {
  return {{{"model.from", "--model"},
           {"search_lr.method", "--method"},
           {"trainer.threads", "--threads"}},
          {{options.model, "--model"}}};
}

RunConfig read_config(const SearchLrOptions& options) {
  auto document = YamlDocument::load(options.config);
  const auto set = [&](const std::string& key, const std::string& value,
                       const std::string& origin) {
    if (!value.empty()) document.set(key, json_text(value), origin);
  };
  set("model.from", options.model, "--model");
  set("search_lr.method", options.method, "--method");
  for (const auto& assignment : options.assignments) document.set(assignment);
  auto config = document.run_config();
  if (options.threads >= 0) config.trainer.threads = options.threads;
  config.output = options.output.empty() ? config.output + "-rates" : options.output;
  return config;
}

void print_plan(const ResolvedRateSearch& search) {
  const auto& c = search.config.search_lr;
  fmt::print("{} parameters in {} blocks", search.layout.size(), search.partition.block_count());
  if (c.needs_products()) {
    fmt::print("; at most {} products with the Hessian for {} rates; {:.3f} GiB", search.products,
               search.targets.size(), double(search.memory.peak) / double(1 << 30));
  }
  if (c.by_trials()) {
    fmt::print("; up to {} training runs of {} steps", c.max_trials,
               c.trial_steps > 0 ? c.trial_steps : search.config.trainer.steps);
  }
  fmt::print("\n");
  if (c.needs_gradients()) fmt::print("mean(v): {}\n", moment_text(search.moment_batches));
}

// Measured rates are rates; those of trials multiply the run's own.
std::vector<std::string> settings_of(const ResolvedRateSearch& search, const std::string& file) {
  const auto& c = search.config.search_lr;
  const auto rates = "optimizer.block_lr=" + file;
  if (c.method == "coordinate") return {rates};
  if (c.method == "leave_out") {
    return {rates, fmt::format("optimizer.partition.file={}/partition.yaml", search.config.output)};
  }
  return {rates, "optimizer.rule=blockwise_sgd", "optimizer.learning_rate=0.5"};
}

void print_outcome(const std::string& config, const ResolvedRateSearch& search,
                   const RateSearchOutcome& outcome) {
  fmt::print("{}", rate_report(search, outcome));
  if (outcome.exhausted) {
    fmt::print("max_trials ended the search; this is what it had found. With more it goes on.\n");
  }
  if (outcome.file.empty()) return;
  fmt::print("Rates {}\nNext: {}\n", outcome.file,
             next_step(config, settings_of(search, outcome.file)));
}

void print_json(const RateSearchOutcome& outcome) {
  const nlohmann::ordered_json word = {
      {"finished", outcome.finished}, {"exhausted", outcome.exhausted}, {"file", outcome.file}};
  fmt::print("{}\n", json_text(word));
}

int search_lr_command(const SearchLrOptions& options) {
  const auto search = resolve_rate_search(read_config(options));
  if (search.config.search_lr.needs_products()) print_note(search.memory.note);
  if (!options.json) print_plan(search);
  if (options.dry_run) return 0;
  install_stop_handlers();
  RateSearchOutcome outcome;
  {
    Progress bar("rates", search.units);
    const auto program = std::filesystem::read_symlink("/proc/self/exe").string();
    outcome = search_rates(search, program, options.jobs,
                           [&](std::int64_t done, const std::string& what) {
                             bar.update(done, what);
                             if (done == search.units) bar.finish();
                           });
  }
  if (options.json) {
    print_json(outcome);
  } else if (outcome.finished) {
    print_outcome(options.config, search, outcome);
  } else {
    fmt::print("Stopped; the same command goes on.\n");
  }
  return 0;
}

}  // namespace

CommandAction add_search_lr_options(CLI::App& verb) {
  auto options = std::make_shared<SearchLrOptions>();
  verb.add_option("config", options->config,
                  "YAML file of a run; its sections `search_lr` and `hessian` say how to search, "
                  "its optimizer which blocks")
      ->required();
  verb.add_option("--model", options->model,
                  "run, checkpoint or Hugging Face folder, instead of a fresh model");
  verb.add_option("--method", options->method, "curvature, mean_v, coordinate or leave_out");
  verb.add_option("--jobs", options->jobs, "training runs at a time; the threads are divided")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb.add_option("--set", options->assignments, "key=value over the file; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--output", options->output, "folder; default: that of the run, and -rates");
  verb.add_option("--threads", options->threads, "CPU threads, instead of the file's")
      ->check(CLI::Range(0, 4096));
  verb.add_flag("--dry-run", options->dry_run, "print cost and memory, search nothing");
  verb.add_flag("--json", options->json, "machine-readable last word");
  return [options] {
    const auto search = [&] { return search_lr_command(*options); };
    return options->model.empty() ? search() : run_with_flag_hints(flags_of(*options), search);
  };
}

}  // namespace blockwise
