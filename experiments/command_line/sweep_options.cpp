#include "experiments/command_line/sweep_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, SweepOptions& options) {
  verb.add_option("config", options.config, "YAML file with a section `sweep`")->required();
  add_set_option(verb, options.assignments);
  verb.add_option("--output", options.output, "folder of the sweep, instead of the file's");
  verb.add_option("--jobs", options.jobs,
                  "members at a time; the threads are divided. 0: one on every "
                  "thread, as far as memory holds them")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  verb.add_flag("--dry-run", options.dry_run,
                "check everything and print the members, run nothing");
  verb.add_flag("--json", options.json, "machine-readable last word");
}

}  // namespace blockwise
