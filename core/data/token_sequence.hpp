// Token files, shard after shard, as one long sequence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/data/token_file.hpp"
#include "core/data/token_mask.hpp"

namespace blockwise {

// The token files that a configuration names: one file; a folder, for all its *.bin; or a pattern
// with `*` (a shell pattern, glob(3)), of which masks are left out. In the order of their names,
// byte by byte. Throws InputError naming the place where there is none.
std::vector<std::filesystem::path> find_token_files(const std::string& place);

// The files are mapped, never read as a whole; only the pages of the windows that are asked for
// come into memory. Shards of 16 and 32 bits may be mixed, and shards with and without a mask.
class TokenSequence {
 public:
  // `files` must not be empty. Throws InputError as TokenFile and TokenMask do.
  TokenSequence(const std::vector<std::filesystem::path>& files, TokenLayout layout);

  std::int64_t size() const { return starts_.back(); }
  const std::vector<TokenFile>& files() const { return files_; }
  // Tokens begin .. begin + count - 1, across the borders of shards. O(log files) and the copy.
  void copy(std::int64_t begin, std::int64_t count, std::int64_t* out) const;
  // Those tokens with kIgnoredTarget in the place of each that does not count.
  void copy_targets(std::int64_t begin, std::int64_t count, std::int64_t* out) const;
  // Whether a file has a mask.
  bool masked() const;
  // The file that holds this token, and its place there.
  std::pair<std::filesystem::path, std::int64_t> place(std::int64_t token) const;
  void check_vocabulary(std::int64_t vocab_size) const;

 private:
  std::size_t file_of(std::int64_t token) const;

  std::vector<TokenFile> files_;
  std::vector<std::optional<TokenMask>> masks_;  // of each file
  std::vector<std::int64_t> starts_;             // of each file, and the end of the last one
};

}  // namespace blockwise
