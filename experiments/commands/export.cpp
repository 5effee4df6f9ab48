#include <fmt/format.h>

#include "core/pretrained/hugging_face.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

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

int run_verb(const ExportOptions& options) {
  const FlagTable flags{{},
                        {{options.model, "--model"}, {options.output, "--output"}},
                        /*has_set=*/false};
  return run_with_flag_hints(flags, [&] { return export_command(options); });
}

}  // namespace blockwise
