#include "experiments/command_line/export_options.hpp"

#include <CLI/CLI.hpp>

namespace blockwise {

void add_options(CLI::App& verb, ExportOptions& options) {
  verb.add_option(
          "--model", options.model,
          "run, checkpoint, Hugging Face folder, model file of llm.c, or a .yaml: its fresh model")
      ->required();
  verb.add_option(
          "--output", options.output,
          "folder to write; must not exist, be empty or hold an export that was interrupted")
      ->required();
  verb.add_option("--dtype", options.dtype, "of the weights")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
      ->capture_default_str();
  verb.add_option("--shard-size", options.shard_gb, "GB; larger models are written in shards")
      ->check(CLI::Range(1e-6, 1e6))
      ->capture_default_str();
}

}  // namespace blockwise
