// Token files, little-endian, memory-mapped. Four layouts are read:
//
//   llm.c, 16 bit   256 int32 of header (20240520, version 1, number of tokens, zeros), then one
//                   uint16 per token
//   llm.c, 32 bit   the same with 20240801, version 7 and one uint32 per token (Llama 3's shards)
//   raw_uint16      nothing but uint16 tokens (nanoGPT). Such a file cannot be told from any other
//                   file of even length, so it is read only where it is asked for.
//   raw_uint32      nothing but uint32 tokens, for vocabularies above 65,536; likewise
//
// And the manifest.json that `blockwise data` writes beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/data/token_layout.hpp"
#include "core/io/partial_file.hpp"

namespace blockwise {

// Throws InputError for another name than token_layout_names() has.
TokenLayout token_layout(const std::string& name);

// One memory-mapped token file.
class TokenFile {
 public:
  // Throws InputError naming the file, the value and the bound for a missing file, for text, for a
  // wrong magic number or version, or a length that does not follow from the number of tokens; also
  // for a file with a header that is opened as a bare one.
  explicit TokenFile(const std::filesystem::path& path, TokenLayout layout = TokenLayout::llmc);

  std::int64_t size() const { return size_; }          // tokens
  std::int64_t token_bytes() const { return width_; }  // 2 or 4
  const std::filesystem::path& path() const { return path_; }
  // Tokens begin .. begin + count - 1, widened. The range must lie in the file.
  void copy(std::int64_t begin, std::int64_t count, std::int64_t* out) const;
  // Throws InputError naming the first token at or above `vocab_size` and its position. Reads the
  // whole file once, at the speed of memory.
  void check_vocabulary(std::int64_t vocab_size) const;

 private:
  void read_header(std::span<const std::byte> bytes);
  void read_bare(std::span<const std::byte> bytes, std::int64_t width);
  void refuse_header(std::span<const std::byte> bytes) const;

  std::filesystem::path path_;
  std::shared_ptr<const void> mapping_;
  const std::byte* tokens_ = nullptr;
  std::int64_t size_ = 0;
  std::int64_t width_ = 2;
};

// Appends tokens to an llm.c file that appears under its name only when finish() has been called.
class TokenFileWriter {
 public:
  // `token_bytes` is 2 or 4.
  explicit TokenFileWriter(std::filesystem::path path, std::int64_t token_bytes = 2);
  // Throws InputError for a token that does not fit the width.
  void append(std::span<const std::uint16_t> tokens);
  void append(std::span<const std::uint32_t> tokens);
  // Writes the header, syncs, renames. Returns the number of tokens.
  std::int64_t finish();

 private:
  void write(std::span<const std::byte> bytes);

  PartialFile file_;
  std::int64_t width_;
  std::int64_t count_ = 0;
};

// The largest vocabulary that a manifest or a configuration may name.
inline constexpr std::int64_t kMaxVocabSize = std::int64_t{1} << 20;

struct TokenManifest {
  std::string tokenizer;
  std::int64_t vocab_size = 0;
};

// The manifest beside a token file. Throws InputError where it is missing or damaged.
TokenManifest read_token_manifest(const std::filesystem::path& token_file);

}  // namespace blockwise
