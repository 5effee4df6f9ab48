// Token files, shard after shard, as one long sequence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/data/token_file.hpp"

namespace blockwise {

// The token files that a configuration names: one file; a folder, for all its *.bin; or a pattern
// with `*` (a shell pattern, glob(3)). In the order of their names, byte by byte. Throws InputError
// naming the place where there is none.
std::vector<std::filesystem::path> find_token_files(const std::string& place);

// The files are mapped, never read as a whole; only the pages of the windows that are asked for
// come into memory. Shards of 16 and 32 bits may be mixed.
class TokenSequence {
 public:
  // `files` must not be empty. Throws InputError as TokenFile does.
  TokenSequence(const std::vector<std::filesystem::path>& files, TokenLayout layout);

  std::int64_t size() const { return starts_.back(); }
  const std::vector<TokenFile>& files() const { return files_; }
  // Tokens begin .. begin + count - 1, across the borders of shards. O(log files) and the copy.
  void copy(std::int64_t begin, std::int64_t count, std::int64_t* out) const;
  void check_vocabulary(std::int64_t vocab_size) const;

 private:
  std::vector<TokenFile> files_;
  std::vector<std::int64_t> starts_;  // of each file, and the end of the last one
};

}  // namespace blockwise
