// Loss of a model on a whole token file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/data/token_sequence.hpp"
#include "core/model.hpp"
#include "experiments/text/evaluation_options.hpp"

namespace blockwise {

struct TokenEvaluation {
  double loss = 0.0;                     // mean over all targets, nats
  std::int64_t targets = 0;              // tokens that count as targets, the first does not
  std::vector<double> loss_by_position;  // mean over the windows; NaN where no target counts

  double perplexity() const;
  // Of a text of `bytes` bytes: loss * targets / (ln 2 * bytes).
  double bits_per_byte(std::int64_t bytes) const;
};

// Windows do not overlap: position t of a window sees the t tokens before it in that window. The
// last window may be shorter. `progress` gets the targets done. Sums in double. Throws InputError
// for fewer than two tokens and a token above the model's vocabulary.
TokenEvaluation evaluate_tokens(const Model& model, const TokenSequence& tokens, at::Device device,
                                const EvaluationOptions& options,
                                const std::function<void(std::int64_t)>& progress);

// Bytes of the text that the token files were made of, from the manifest beside them; nothing where
// there is no manifest, or where the files are not all of one of its splits.
std::optional<std::int64_t> text_bytes(const std::vector<std::filesystem::path>& token_files);

}  // namespace blockwise
