#include "experiments/command_line/spectrum_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, SpectrumOptions& options) {
  verb.add_option("config", options.config,
                  "YAML file of a run; its section `hessian` says what is measured");
  verb.add_option("--model", options.models,
                  "Hugging Face folder, run, checkpoint or model file of llm.c, instead of a fresh "
                  "model; may be repeated: one after the other, into one file by step")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--checkpoints", options.checkpoints,
                  "run whose checkpoints are the models, oldest first");
  verb.add_option("--tokens", options.tokens,
                  "token file, folder or pattern of shards; default: the YAML's or the run's");
  verb.add_option("--sequence-length", options.sequence_length,
                  "tokens per example; default: the YAML's or the run's, 128 for other models")
      ->check(CLI::Range(1, 1 << 20));
  add_set_option(verb, options.assignments);
  verb.add_flag("--exact", options.exact,
                "each part as a matrix with all its eigenvalues (up to 5000 parameters)");
  verb.add_option("--precision", options.precision, "fp32 or fp64, all the way");
  verb.add_option("--output", options.output,
                  "folder; default: that of the run or the YAML, and -spectrum");
  verb.add_option("--threads", options.threads, "CPU threads, instead of the file's")
      ->check(CLI::Range(0, 4096));
  verb.add_flag("--dry-run", options.dry_run, "print cost and memory, measure nothing");
  verb.add_flag("--no-figure", options.no_figure, "leave the figure out");
  verb.add_flag("--json", options.json, "machine-readable last word");
  options.tables.add_flag(verb);
}

}  // namespace blockwise
