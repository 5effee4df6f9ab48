#include "experiments/command_line/train_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, TrainOptions& options) {
  verb.add_option("config", options.config, "YAML file of the run")->required();
  add_set_option(verb, options.assignments);
  verb.add_option("--output", options.output, "folder of the run, instead of the file's");
  verb.add_option(
      "--from", options.from,
      "run, or checkpoint of one, to start a new run from: its weights, optimizer state, "
      "step and place in the data, under this file's options");
  verb.add_option("--threads", options.threads, "CPU threads, instead of the file's")
      ->check(CLI::Range(0, 4096));
  verb.add_flag("--dry-run", options.dry_run,
                "print the resolved configuration and the partition report, run nothing");
  verb.add_flag("--json", options.json, "machine-readable last word");
  options.tables.add_flag(verb);
  verb.add_flag("--progress-lines", options.progress_lines, "progress as lines on standard output")
      ->group("");
  verb.add_option("--claim", options.claim, "of the sweep that runs this as one of its members")
      ->group("");
  verb.add_option("--claim-holder", options.claim_holder, "process of that sweep")->group("");
}

}  // namespace blockwise
