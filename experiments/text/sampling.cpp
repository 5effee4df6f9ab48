#include "experiments/text/sampling.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/models/key_value_cache.hpp"

namespace blockwise {
namespace {

// Probabilities in descending order, those outside top-k and top-p zero; and their tokens.
std::pair<at::Tensor, at::Tensor> allowed(const at::Tensor& logits,
                                          const SamplingOptions& options) {
  const auto scaled = logits.to(at::kCPU, at::kDouble) / options.temperature;
  auto [values, tokens] = scaled.sort(0, /*descending=*/true);
  if (options.top_k > 0 && options.top_k < values.size(0)) {
    values = values.narrow(0, 0, options.top_k);
    tokens = tokens.narrow(0, 0, options.top_k);
  }
  const auto probabilities = at::softmax(values, 0);
  // A token is in as long as those before it hold less than top_p.
  const auto before = probabilities.cumsum(0) - probabilities;
  return {probabilities * before.lt(options.top_p), tokens};
}

}  // namespace

std::int64_t sample_token(const at::Tensor& logits, const SamplingOptions& options,
                          at::Generator& generator) {
  if (options.temperature == 0.0) return logits.argmax(0).item<std::int64_t>();
  const auto [probabilities, tokens] = allowed(logits, options);
  const auto drawn = at::multinomial(probabilities, 1, false, generator);
  return tokens[drawn.item<std::int64_t>()].item<std::int64_t>();
}

void require_prompt(const Writer& writer, const std::vector<std::int64_t>& prompt) {
  const auto given = static_cast<std::int64_t>(prompt.size());
  require_input(given >= 1, "the prompt is empty");
  require_input(given < writer.context_length, "the prompt has {} tokens, the model's context {}",
                given, writer.context_length);
  const auto vocabulary = writer.model.head().weight.size(0);
  for (const auto token : prompt) {
    require_input(token < vocabulary, "the prompt has token {}, the model's vocabulary has {}",
                  token, vocabulary);
  }
}

void sample(const Writer& writer, const std::vector<std::int64_t>& prompt,
            const SamplingOptions& options, const std::function<bool(std::int64_t)>& emit) {
  const auto& [model, layers, context_length, device] = writer;
  at::NoGradGuard no_grad;
  require_prompt(writer, prompt);
  const auto given = static_cast<std::int64_t>(prompt.size());
  KeyValueCache cache(layers, std::min(context_length, given + options.tokens));
  ForwardContext context;
  context.cache = &cache;
  auto generator = make_generator(options.seed, RandomStream::sampling);
  auto inputs = at::tensor(prompt, at::kLong).unsqueeze(0);
  for (std::int64_t i = 0; i < options.tokens && cache.length() + inputs.size(1) <= context_length;
       ++i) {
    const auto features = model.features(inputs.to(device), context);
    const auto logits =
        model.head()(features.select(1, features.size(1) - 1), context).select(0, 0);
    require_input(at::isfinite(logits).all().item<bool>(),
                  "the model's outputs are not finite behind token {}: its weights are not, or too "
                  "large",
                  given + i);
    const auto token = sample_token(logits, options, generator);
    if (!emit(token)) return;
    inputs = at::full({1, 1}, token, at::kLong);
  }
}

}  // namespace blockwise
