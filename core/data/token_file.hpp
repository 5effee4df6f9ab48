// Token files in the layout of llm.c's shards, little-endian: 256 int32 of header (20240520,
// version 1, number of tokens, zeros), then one uint16 per token. And the manifest.json that
// `blockwise data` writes beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace blockwise {

// A memory-mapped token file.
class TokenFile {
 public:
  // Throws InputError naming the file for a missing file, a wrong magic number or version, or a
  // length that is not 1024 + 2 * tokens.
  explicit TokenFile(const std::filesystem::path& path);

  std::span<const std::uint16_t> tokens() const { return tokens_; }
  const std::filesystem::path& path() const { return path_; }
  // Throws InputError naming the first token at or above `vocab_size` and its position.
  void check_vocabulary(std::int64_t vocab_size) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> mapping_;
  std::span<const std::uint16_t> tokens_;
};

// Appends tokens to a file that appears under its name only when finish() has been called.
class TokenFileWriter {
 public:
  explicit TokenFileWriter(std::filesystem::path path);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;
  void append(std::span<const std::uint16_t> tokens);
  // Writes the header, syncs, renames. Returns the number of tokens.
  std::int64_t finish();

 private:
  struct File;
  std::filesystem::path path_;
  std::unique_ptr<File> file_;
  std::int64_t count_ = 0;
};

struct TokenManifest {
  std::string tokenizer;
  std::int64_t vocab_size = 0;
};

// The manifest beside a token file. Throws InputError where it is missing or damaged.
TokenManifest read_token_manifest(const std::filesystem::path& token_file);

}  // namespace blockwise
