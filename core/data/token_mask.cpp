#include "core/data/token_mask.hpp"

#include <algorithm>

#include "core/base/batch.hpp"
#include "core/base/error.hpp"
#include "core/io/mapped_file.hpp"

namespace blockwise {

TokenMask::TokenMask(const std::filesystem::path& path, const TokenFile& tokens) {
  const auto file = map_file(path);
  mapping_ = file.mapping;
  bytes_ = file.bytes;
  const auto size = static_cast<std::int64_t>(bytes_.size());
  require_input(size == tokens.size(),
                "{}: {} bytes, a mask has one per token and {} has {} tokens", path.string(), size,
                tokens.path().string(), tokens.size());
  const auto wrong = std::ranges::find_if(bytes_, [](std::byte b) { return b > std::byte{1}; });
  require_input(wrong == bytes_.end(),
                "{}: byte {} is {}, a mask has 1 where a token counts as a target and 0 where it "
                "does not",
                path.string(), wrong - bytes_.begin(),
                wrong == bytes_.end() ? 0 : std::to_integer<int>(*wrong));
}

void TokenMask::apply(std::int64_t begin, std::int64_t count, std::int64_t* out) const {
  for (std::int64_t i = 0; i < count; ++i) {
    if (bytes_[static_cast<std::size_t>(begin + i)] == std::byte{0}) out[i] = kIgnoredTarget;
  }
}

std::optional<TokenMask> find_token_mask(const TokenFile& tokens) {
  auto path = tokens.path();
  path.replace_extension(kMaskExtension);
  // A link that leads nowhere is no mask that is not there.
  const bool there = std::filesystem::exists(std::filesystem::symlink_status(path));
  if (path == tokens.path() || !there) return std::nullopt;
  return TokenMask(path, tokens);
}

}  // namespace blockwise
