#include "experiments/command_line/search_lr_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, SearchLrOptions& options) {
  verb.add_option("config", options.config,
                  "YAML file of a run; its sections `search_lr` and `hessian` say how to search, "
                  "its optimizer which blocks");
  verb.add_option(
      "--model", options.model,
      "run, checkpoint or Hugging Face folder, instead of a fresh model; a run needs no "
      "YAML: its folder has one");
  verb.add_option("--method", options.method, "curvature, mean_v, coordinate or leave_out");
  verb.add_option("--jobs", options.jobs, "training runs at a time; the threads are divided")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  add_set_option(verb, options.assignments);
  verb.add_option("--output", options.output, "folder; default: that of the run, and -rates");
  verb.add_option("--threads", options.threads, "CPU threads, instead of the file's")
      ->check(CLI::Range(0, 4096));
  verb.add_flag("--dry-run", options.dry_run, "print cost and memory, search nothing");
  verb.add_flag("--json", options.json, "machine-readable last word");
  options.tables.add_flag(verb);
}

}  // namespace blockwise
