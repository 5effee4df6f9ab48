// Text sampling: one token after the other with a key-value cache.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "core/model.hpp"
#include "experiments/text/sampling_options.hpp"

namespace blockwise {

// One draw from logits [vocabulary] (Fan et al., arXiv 1805.04833, for top-k; Holtzman et al.,
// arXiv 1904.09751, for top-p: the smallest set of likeliest tokens whose probabilities sum to at
// least top_p, which always holds the likeliest). Temperature first, then top-k, then top-p.
std::int64_t sample_token(const at::Tensor& logits, const SamplingOptions& options,
                          at::Generator& generator);

// A model that writes text.
struct Writer {
  const Model& model;
  std::int64_t layers;
  std::int64_t context_length;  // in tokens
  at::Device device;
};

// Throws InputError for a prompt that is empty, fills the context, or has a token that the model's
// vocabulary has not.
void require_prompt(const Writer& writer, const std::vector<std::int64_t>& prompt);

// Continues `prompt` (not empty) by options.tokens tokens, or until the prompt and they fill the
// context. `emit` gets each token and may return false to stop. The n-th token depends on
// the model, the prompt, the options and the seed alone. Throws InputError as require_prompt(), and
// where what the model says of the next token is not finite.
void sample(const Writer& writer, const std::vector<std::int64_t>& prompt,
            const SamplingOptions& options, const std::function<bool(std::int64_t)>& emit);

}  // namespace blockwise
