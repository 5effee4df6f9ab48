#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/io/output_folder.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/stop_signal.hpp"
#include "experiments/sweep.hpp"

namespace blockwise {
namespace {

struct SweepOptions {
  std::string config;
  std::vector<std::string> assignments;
  std::int64_t jobs = 1;
  bool dry_run = false;
  bool json = false;
};

int print_outcome(const SweepManifest& sweep, const SweepOutcome& outcome, bool json) {
  if (json) {
    const nlohmann::ordered_json word = {{"finished", outcome.finished},
                                         {"diverged", outcome.diverged},
                                         {"failed", outcome.failed},
                                         {"unfinished", outcome.unfinished},
                                         {"folder", sweep.folder.string()}};
    fmt::print("{}\n", json_text(word));
  } else {
    fmt::print(
        "{} of {} members finished, {} diverged, {} failed, {} unfinished. Next: blockwise "
        "report {}\n",
        outcome.finished, sweep.members.size(), outcome.diverged, outcome.failed,
        outcome.unfinished, sweep.folder.string());
  }
  if (outcome.unfinished > 0 && !json) fmt::print("The same command continues the sweep.\n");
  return outcome.failed > 0 || outcome.unfinished > 0 ? 1 : 0;
}

int sweep_command(const SweepOptions& options) {
  auto document = YamlDocument::load(options.config);
  for (const auto& assignment : options.assignments) document.set(assignment);
  if (options.dry_run) {
    for (const auto& plan : expand(document.sweep_config())) fmt::print("{}\n", plan.id);
    return 0;
  }
  // Two sweeps would write the same files and start the same runs.
  const OutputFolder taken(document.run_config().output);
  const auto sweep = prepare_sweep(document);
  install_stop_handlers();
  const auto program = std::filesystem::read_symlink("/proc/self/exe").string();
  return print_outcome(sweep, run_sweep(sweep, program, options.jobs), options.json);
}

}  // namespace

CommandAction add_sweep_options(CLI::App& verb) {
  auto options = std::make_shared<SweepOptions>();
  verb.add_option("config", options->config, "YAML file with a section `sweep`")->required();
  verb.add_option("--set", options->assignments, "key=value over the file; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--jobs", options->jobs, "members at a time; the threads are divided")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb.add_flag("--dry-run", options->dry_run, "print the members, run nothing");
  verb.add_flag("--json", options->json, "machine-readable last word");
  return [options] { return sweep_command(*options); };
}

}  // namespace blockwise
