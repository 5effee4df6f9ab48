#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/memory/device.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/config/run_source.hpp"
#include "experiments/terminal/progress.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"
#include "experiments/text/token_evaluation.hpp"

namespace blockwise {
namespace {

void print_result(const EvalOptions& options, const TokenEvaluation& result,
                  std::optional<std::int64_t> bytes, const std::string& description) {
  if (options.json) {
    nlohmann::ordered_json word = {{"model", options.model},
                                   {"tokens", result.targets},
                                   {"sequence_length", options.evaluation.sequence_length},
                                   {"loss", result.loss},
                                   {"perplexity", result.perplexity()},
                                   {"bits_per_byte", nullptr},
                                   {"loss_by_position", result.loss_by_position}};
    if (bytes) word["bits_per_byte"] = result.bits_per_byte(*bytes);
    fmt::print("{}\n", json_text(word));
    return;
  }
  auto text = fmt::format("{}\n{} tokens predicted: loss {:.6f} nats, perplexity {:.4f}",
                          description, result.targets, result.loss, result.perplexity());
  if (bytes) text += fmt::format(", {:.5f} bits per byte", result.bits_per_byte(*bytes));
  text += "\nby position:";
  for (std::size_t t = 0; t < result.loss_by_position.size(); t = t == 0 ? 1 : 2 * t) {
    text += fmt::format("  {}: {:.4f}", t, result.loss_by_position[t]);
  }
  print_words(text + "\n");
}

FlagTable flags_of(const EvalOptions& options) {
  return {{{"data.format", "--format"}, {"data.sequence_length", "--sequence-length"}},
          {{options.model, "--model"}, {options.tokens, "--tokens"}},
          /*has_set=*/false};
}

// What was not given is the run's, where the model is one.
EvalOptions with_defaults(EvalOptions options) {
  const bool complete = !options.tokens.empty() && options.sequence_length > 0;
  const auto run = complete ? std::nullopt : run_folder_of(options.model);
  if (run) {
    const auto source = evaluation_source(*run);
    if (options.sequence_length == 0) options.sequence_length = source.sequence_length;
    if (options.tokens.empty()) {
      options.tokens = source.tokens;
      if (options.format.empty()) options.format = source.format;
    }
  }
  require_input(!options.tokens.empty() || !input_exists(options.model),
                "eval: --model {} is no run, whose folder would say the data: give --tokens",
                options.model);
  require_input(!options.tokens.empty(), "eval: there is no model {}, and no --tokens",
                options.model);
  if (options.sequence_length > 0) options.evaluation.sequence_length = options.sequence_length;
  return options;
}

int eval_command(const EvalOptions& given) {
  const auto options = with_defaults(given);
  const auto device = resolve_device(options.device);
  print_note(thread_note(options.threads));
  set_threads(static_cast<int>(options.threads));
  const auto mixed = options.precision == "bf16"
                         ? std::optional(MixedPrecision{{ParameterRole::norm}})
                         : std::nullopt;
  const auto files = find_token_files(options.tokens);
  const TokenSequence tokens(files, token_layout(options.format.empty() ? "auto" : options.format));
  const auto loaded = load_model(options.model, device, mixed);
  const auto most = loaded.source.spec->context_length();
  require_input(most > 0, "--model {}: this model reads no tokens", options.model);
  require_input(std::min(options.evaluation.sequence_length, tokens.size() - 1) <= most,
                "--sequence-length is {}, the model reads at most {} tokens",
                options.evaluation.sequence_length, most);
  Progress bar("tokens", tokens.size() - 1);
  const auto result = evaluate_tokens(*loaded.model, tokens, device, options.evaluation,
                                      [&](std::int64_t done) { bar.update(done, ""); });
  bar.finish();
  // Of a masked text only the caller knows how many bytes its targets are.
  const auto known = tokens.masked() ? std::nullopt : text_bytes(files);
  const auto bytes = options.bytes > 0 ? std::optional(options.bytes) : known;
  print_result(options, result, bytes, loaded.source.description);
  return 0;
}

}  // namespace

int run_verb(const EvalOptions& options) {
  return run_with_flag_hints(flags_of(options), [&] { return eval_command(options); });
}

}  // namespace blockwise
