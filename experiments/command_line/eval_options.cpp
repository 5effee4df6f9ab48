#include "experiments/command_line/eval_options.hpp"

#include <CLI/CLI.hpp>
#include <limits>

#include "core/data/token_layout.hpp"

namespace blockwise {

void add_options(CLI::App& verb, EvalOptions& options) {
  verb.add_option(
          "--model", options.model,
          "Hugging Face folder, run, checkpoint, model file of llm.c, or a .yaml: its fresh model")
      ->required();
  verb.add_option("--tokens", options.tokens,
                  "token file, folder or pattern of shards; default: what the run evaluates on");
  verb.add_option("--sequence-length", options.sequence_length,
                  "tokens per window; windows do not overlap; default: the run's, 1024 for other "
                  "models")
      ->check(CLI::Range(1, 1 << 20));
  verb.add_option("--batch-size", options.evaluation.batch_size, "windows per forward pass")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb.add_option("--format", options.format,
                  "as data.format: auto: llm.c's files; without header raw_uint16 (nanoGPT's) or "
                  "raw_uint32")
      ->check(CLI::IsMember(token_layout_names()));
  // Its name before it had data.format's.
  verb.add_option("--layout", options.format)
      ->check(CLI::IsMember(token_layout_names()))
      ->group("");
  verb.add_option("--bytes", options.bytes,
                  "bytes of the text, for bits per byte; 0 takes them from manifest.json")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  verb.add_option("--precision", options.precision, "of weights and activations")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  verb.add_option("--device", options.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  verb.add_option("--threads", options.threads,
                  "CPU threads; 0: OMP_NUM_THREADS, or else all cores")
      ->check(CLI::Range(0, 4096));
  verb.add_flag("--json", options.json, "machine-readable");
}

}  // namespace blockwise
