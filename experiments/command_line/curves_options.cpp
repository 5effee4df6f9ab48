#include "experiments/command_line/curves_options.hpp"

#include <CLI/CLI.hpp>

namespace blockwise {

void add_options(CLI::App& verb, CurvesOptions& options) {
  verb.add_option("folder", options.folder, "folder of a sweep or of a run")->required();
  auto* csv = verb.add_flag("--csv", options.csv,
                            "a line per run, step and quantity, to standard output (the default)");
  auto* board = verb.add_flag("--tensorboard", options.tensorboard,
                              "event files, a folder per run; needs Python's tensorboardX");
  auto* wandb = verb.add_flag("--wandb", options.wandb,
                              "offline runs for `wandb sync`; needs Python's wandb");
  csv->excludes(board)->excludes(wandb);
  board->excludes(wandb);
  verb.add_option("--output", options.output,
                  "file of the CSV; otherwise a folder, without it FOLDER/tensorboard or /wandb");
}

}  // namespace blockwise
