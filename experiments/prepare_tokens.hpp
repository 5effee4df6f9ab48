// Token files from text: train.bin, validation.bin and manifest.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

struct TokenizerJob {
  std::vector<std::string> train;
  std::vector<std::string> validation;
  std::string output;
  std::string tokenizer = "byte";
  std::int64_t vocab_size = 2048;  // bpe only
};

// Byte level here; `bpe` runs our Python module blockwise.bpe (Hugging Face tokenizers) with the
// interpreter in BLOCKWISE_PYTHON, that of .venv, or python3. Files are streamed, never held whole;
// nothing stands under its final name before it is complete. Throws InputError naming a text file
// that cannot be read.
void prepare_tokens(const TokenizerJob& job);

}  // namespace blockwise
