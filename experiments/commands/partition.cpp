#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
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
#include "experiments/partitions/partition_discovery.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/sweeps/training_oracle.hpp"
#include "experiments/terminal/progress.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"
#include "hessian/evidence/partition_agreement.hpp"

namespace blockwise {
namespace {

FlagTable flags_of(const PartitionOptions& options) {
  return {{{"model.from", "--model"},
           {"discovery.objective", "--objective"},
           {"discovery.max_state", "--max-state"},
           {"trainer.threads", "--threads"}},
          {{options.model, "--model"}, {options.output, "--output"}},
          /*has_set=*/options.config.empty() || !options.model.empty()};
}

// The YAML, or what the folder of the run says.
YamlDocument document_of(const PartitionOptions& options) {
  if (!options.config.empty()) return YamlDocument::load(options.config);
  require_input(!options.model.empty(), "partition: give a YAML file, or --model with a run");
  const auto run = run_folder_of(options.model);
  require_input(run.has_value(),
                "partition: --model {} is no run, whose folder would say the data: "
                "give a YAML file, too",
                options.model);
  return run_document(*run, options.model);
}

RunConfig read_config(const PartitionOptions& options) {
  auto document = document_of(options);
  const auto set = [&](const std::string& key, const std::string& value,
                       const std::string& origin) {
    if (!value.empty()) document.set(key, json_text(value), origin);
  };
  if (!options.config.empty()) set("model.from", options.model, "--model");
  set("discovery.objective", options.objective, "--objective");
  if (options.max_state > 0.0) {
    document.set("discovery.max_state", fmt::format("{}", options.max_state), "--max-state");
  }
  for (const auto& assignment : options.assignments) document.set(assignment);
  print_note(document.moved_note());
  auto config = document.run_config();
  if (options.threads >= 0) config.trainer.threads = options.threads;
  config.output = output_of(options.output, config.output + "-partition");
  return config;
}

void print_plan(const ResolvedDiscovery& discovery) {
  print_words(fmt::format(
      "{} parameters; {} products with the Hessian, about {:.0f} gradients in all; {:.3f} GiB{}\n",
      discovery.layout.size(), discovery.work.products, discovery.gradients,
      double(discovery.memory.peak) / double(1 << 30), in_files(discovery.memory)));
  const auto& search = discovery.config.discovery;
  if (!search.by_loss()) return;
  fmt::print("then up to {} training runs of {} steps\n", search.max_trials,
             search.trial_steps > 0 ? search.trial_steps : discovery.config.trainer.steps);
}

void print_merged(const ParameterLayout& layout, const std::vector<SectionScores>& sections) {
  std::map<std::int64_t, std::string> names;
  for (const auto& section : sections) {
    if (section.merged < 0) continue;
    auto& list = names[section.merged];
    list += (list.empty() ? "" : ", ") + layout.parameters()[section.tensor].name;
  }
  for (const auto& [number, list] : names) {
    print_words(fmt::format("merged into one value: {}\n", list));
  }
}

void print_agreement(const ParameterLayout& layout, const Partition& found,
                     const std::string& path) {
  const auto agreement = partition_agreement(layout, found, read_partition(path, layout).partition);
  print_words(fmt::format(
      "agreement with {}: adjusted Rand {:.3f}, the same structure in {:.0f} % of {} sections\n",
      path, agreement.adjusted_rand, 100.0 * agreement.same_structure, agreement.sections));
}

void print_sections(const ResolvedDiscovery& discovery, const DiscoveryOutcome& outcome,
                    std::size_t width) {
  if (discovery.config.discovery.by_loss()) {
    fmt::print("By training:\n{}\nWhat energy says of it:\n",
               decisions_report(outcome.decisions, width));
  }
  fmt::print("{}", discovery_report(discovery.layout, outcome.sections, width));
  if (outcome.exhausted) {
    print_words(
        "max_trials ended the search; this is the best so far. With more of them it goes on.\n");
  }
}

void print_outcome(const PartitionOptions& options, const ResolvedDiscovery& discovery,
                   const DiscoveryOutcome& outcome) {
  print_sections(discovery, outcome, options.tables.columns());
  for (const auto& validation : outcome.validation) {
    print_words(validation_text(validation) + "\n");
  }
  print_merged(discovery.layout, outcome.sections);
  for (const auto& path : options.agree_with) {
    print_agreement(discovery.layout, outcome.partition, path);
  }
  const auto values = outcome.partition.state_size();
  fmt::print("{} values for {} parameters, {:.4g} %\nPartition {}\n", values,
             discovery.layout.size(), 100.0 * double(values) / double(discovery.layout.size()),
             outcome.file);
  print_command(
      "Next:", next_step({options.config, options.model, options.assignments},
                         {"optimizer.rule=adam_mini", "optimizer.partition.file=" + outcome.file}));
}

void print_json(const DiscoveryOutcome& outcome) {
  nlohmann::ordered_json sections = nlohmann::ordered_json::array();
  for (const auto& section : outcome.sections) {
    const auto& chosen = section.candidates[section.chosen];
    sections.push_back({{"tensor", section.tensor},
                        {"role", role_name(chosen.section.role)},
                        {"chosen", chosen.name},
                        {"values", chosen.section.state_size()}});
  }
  const nlohmann::ordered_json word = {{"finished", outcome.finished},
                                       {"file", outcome.file},
                                       {"values", outcome.partition.state_size()},
                                       {"sections", sections}};
  fmt::print("{}\n", json_text(word));
}

int partition_command(const PartitionOptions& options) {
  const auto starter = options.dry_run ? nullptr : member_processes();
  const auto discovery = resolve_discovery(read_config(options));
  const auto place = rank_place(::getenv);
  if (place.rank > 0) {
    return follow_first(place, discovery.config, options.dry_run,
                        [&](const Ranks& ranks) { return serve_discovery(discovery, ranks); });
  }
  // Files that do not fit are an error before the work, not after it.
  for (const auto& path : options.agree_with) read_partition(path, discovery.layout);
  print_note(discovery.memory.note);
  if (!options.json) print_plan(discovery);
  if (options.dry_run) return 0;
  print_note(thread_note(discovery.config.trainer.threads));
  if (discovery.config.discovery.by_loss()) print_note(jobs_note(options.jobs));
  const Ranks ranks = meet_ranks(place, discovery.config);
  install_stop_handlers("product, or this step of each trial");
  DiscoveryOutcome outcome;
  {
    const auto units = discovery.work.units;
    Progress bar("products", units);
    TrainingOracle trials(std::filesystem::path(discovery.config.output) / "trials", *starter,
                          options.jobs, stop_requested);
    const auto observe = [&](std::int64_t done, const std::string& what) {
      bar.update(done, what);
      if (done == units) bar.finish();
    };
    outcome = discover_partition(discovery, trials, observe, stop_requested, ranks);
  }
  if (options.json) {
    print_json(outcome);
  } else if (outcome.finished) {
    print_outcome(options, discovery, outcome);
  }
  return outcome.finished ? kExitFinished : report_stop(options.json);
}

}  // namespace

int run_verb(const PartitionOptions& options) {
  const auto search = [&] { return partition_command(options); };
  return run_with_flag_hints(flags_of(options), search);
}

}  // namespace blockwise
