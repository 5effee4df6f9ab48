// Whether a file is text where tokens are expected: the mistake that everybody makes once.
#pragma once

#include <cstddef>
#include <span>

namespace blockwise {

// Whether the first 4 KiB are UTF-8 without control characters other than tabs and ends of lines.
// False below `least` bytes, and for none: a few tokens could be so by chance.
bool looks_like_text(std::span<const std::byte> bytes, std::size_t least);

}  // namespace blockwise
