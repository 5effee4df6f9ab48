#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/thread_note.hpp"
#include "experiments/text/sampling.hpp"
#include "experiments/text/tokenizer.hpp"

namespace blockwise {
namespace {

// The tokens at which the text ends.
std::vector<std::int64_t> last_tokens(const GenerateOptions& options, const ModelSource& source) {
  if (options.ignore_eos) return {};
  return options.eos.empty() ? end_of_text(source.companions) : options.eos;
}

// A terminal obeys control characters, and a model may write any: there they are written out. Files
// and pipes get the text as it is.
void print(const std::string& text) {
  const auto shown = ::isatty(STDOUT_FILENO) == 1 ? printable_lines(text) : text;
  std::fwrite(shown.data(), 1, shown.size(), stdout);
  std::fflush(stdout);
}

int generate_command(const GenerateOptions& options) {
  const auto device = resolve_device(options.device);
  print_note(thread_note(options.threads));
  set_threads(static_cast<int>(options.threads));
  const auto loaded = load_model(options.model, device);
  const auto& spec = *loaded.source.spec;
  require_input(spec.context_length() > 0, "{}: a model of family {} writes no text", options.model,
                spec.family());
  const auto tokenizer =
      options.tokenizer.empty()
          ? open_tokenizer(loaded.source.companions.folder, loaded.model->head().weight.size(0))
          : open_named_tokenizer(options.tokenizer);
  const auto last = last_tokens(options, loaded.source);
  install_stop_handlers("token");
  const Writer writer{*loaded.model, spec.layout().layer_count(), spec.context_length(), device};
  const auto prompt = tokenizer->encode(options.prompt);
  require_prompt(writer, prompt);
  print(options.prompt);
  sample(writer, prompt, options.sampling, [&](std::int64_t token) {
    if (std::find(last.begin(), last.end(), token) != last.end()) return false;
    print(tokenizer->decode(token));
    return !stop_requested();
  });
  print(tokenizer->finish());
  print("\n");
  return stop_requested() ? kExitInterrupted : kExitFinished;
}

}  // namespace

int run_verb(const GenerateOptions& options) {
  const FlagTable flags{{},
                        {{options.model, "--model"}, {options.tokenizer, "--tokenizer"}},
                        /*has_set=*/false};
  return run_with_flag_hints(flags, [&] { return generate_command(options); });
}

}  // namespace blockwise
