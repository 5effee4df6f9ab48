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
  // Begins a text, which decode() continues.
  virtual std::vector<std::int64_t> encode(const std::string& text) = 0;
  // The whole characters that are certain with this token, behind what came before; may be none. A
  // token without a text has none.
  virtual std::string decode(std::int64_t token) = 0;
  // What was held back, at the end.
  virtual std::string finish() = 0;
};

// The tokenizer.json in the folder (of Hugging Face's library `tokenizers`, any kind), else bytes
// where the manifest.json there says so or the vocabulary has 256 entries. A tokenizer.json is read
// by that library, through our Python module text_session: text is decoded as the file's decoder
// says; padding and truncation that the file holds are ignored. Throws InputError naming what is
// missing.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder,
                                          std::int64_t vocab_size);

// The one that a person named: `byte`, a tokenizer.json (by any name), or a folder with one or with
// the manifest.json of a byte-level corpus. Throws InputError for anything else, also where the
// size of the vocabulary would let open_tokenizer() take bytes.
std::unique_ptr<Tokenizer> open_named_tokenizer(const std::string& name);

// Passes on whole UTF-8 characters of a stream of bytes and keeps an unfinished one back.
class Utf8Stream {
 public:
  std::string feed(const std::string& bytes);
  std::string finish() { return std::move(pending_); }

 private:
  std::string pending_;
};

}  // namespace blockwise
