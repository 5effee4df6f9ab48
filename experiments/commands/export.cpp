#include <fmt/format.h>

#include <memory>

#include "core/pretrained/hugging_face.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

struct ExportOptions {
  std::string model, output;
  std::string dtype = "fp32";
  double shard_gb = 5.0;
};

at::ScalarType scalar_type(const std::string& dtype) {
  if (dtype == "bf16") return at::kBFloat16;
  return dtype == "fp16" ? at::kHalf : at::kFloat;
}

int export_command(const ExportOptions& options) {
  const auto loaded = load_model(options.model, at::kCPU);
  const HuggingFaceWriting writing{scalar_type(options.dtype),
                                   static_cast<std::int64_t>(options.shard_gb * 1e9),
                                   loaded.source.companions};
  write_hugging_face(options.output, *loaded.source.spec, *loaded.store, writing);
  print_words(fmt::format("{} is now the Hugging Face folder {}\n", loaded.source.description,
                          options.output));
  return 0;
}

}  // namespace

CommandAction add_export_options(CLI::App& verb) {
  auto options = std::make_shared<ExportOptions>();
  verb.add_option(
          "--model", options->model,
          "run, checkpoint, Hugging Face folder, model file of llm.c, or a .yaml: its fresh model")
      ->required();
  verb.add_option(
          "--output", options->output,
          "folder to write; must not exist, be empty or hold an export that was interrupted")
      ->required();
  verb.add_option("--dtype", options->dtype, "of the weights")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
      ->capture_default_str();
  verb.add_option("--shard-size", options->shard_gb, "GB; larger models are written in shards")
      ->check(CLI::Range(1e-6, 1e6))
      ->capture_default_str();
  return [options] {
    const FlagTable flags{{},
                          {{options->model, "--model"}, {options->output, "--output"}},
                          /*has_set=*/false};
    return run_with_flag_hints(flags, [&] { return export_command(*options); });
  };
}

}  // namespace blockwise
