// Text to tokens and back, for people who type a prompt and read what a model writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace blockwise {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<std::int64_t> encode(const std::string& text) const = 0;
  // The bytes of one token; a character of UTF-8 may be spread over several. Empty for a token that
  // stands for no text.
  virtual std::string decode(std::int64_t token) const = 0;
};

// The tokenizer.json in the folder (Hugging Face tokenizers: byte-level BPE as GPT-2's and Llama
// 3's, or one with "\u2581" for blanks and <0x0A> for bytes as Llama 2's), else bytes where the
// manifest.json there says so or the vocabulary has 256 entries. tokenizer.json is decoded here; to
// encode, our Python module asks the library `tokenizers`. Throws InputError naming what is
// missing.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder,
                                          std::int64_t vocab_size);

// Passes on whole UTF-8 characters of a stream of bytes and keeps an unfinished one back.
class Utf8Stream {
 public:
  std::string feed(const std::string& bytes);
  std::string finish() { return std::move(pending_); }

 private:
  std::string pending_;
};

}  // namespace blockwise
