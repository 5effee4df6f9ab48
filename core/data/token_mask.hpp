// Which tokens of a token file count as targets: a mask beside it, FILE.mask for FILE.bin, with one
// byte per token: 1 counts, 0 does not. A token that does not count is read all the same; only
// nothing is asked of the model where it would be predicted (prompts, padding, other speakers).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "core/data/token_file.hpp"

namespace blockwise {

inline constexpr const char* kMaskExtension = ".mask";

class TokenMask {
 public:
  // Maps the file and reads it once, at the speed of memory. Throws InputError naming it where it
  // is no regular file, has not one byte per token (both sizes are said), or has another byte than
  // 0 and 1 (which and where).
  TokenMask(const std::filesystem::path& path, const TokenFile& tokens);

  // out[i] becomes kIgnoredTarget where token begin + i does not count.
  void apply(std::int64_t begin, std::int64_t count, std::int64_t* out) const;

 private:
  std::shared_ptr<const void> mapping_;
  std::span<const std::byte> bytes_;
};

// The mask beside a token file; nothing where there is none, and every token counts.
std::optional<TokenMask> find_token_mask(const TokenFile& tokens);

}  // namespace blockwise
