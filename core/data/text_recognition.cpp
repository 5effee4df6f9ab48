#include "core/data/text_recognition.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>

namespace blockwise {
namespace {

constexpr std::size_t kBytesLookedAt = 4096;

bool is_control(std::uint8_t byte) {
  constexpr std::string_view kOfText = "\t\n\v\f\r";
  return (byte < 0x20 && kOfText.find(static_cast<char>(byte)) == std::string_view::npos) ||
         byte == 0x7f;
}

// Bytes behind the first of a character; -1 where none begins so. UTF-8 has at most three.
int bytes_behind(std::uint8_t first) {
  const int ones = std::countl_one(first);
  return ones == 0 ? 0 : (ones >= 2 && ones <= 4 ? ones - 1 : -1);
}

}  // namespace

bool looks_like_text(std::span<const std::byte> bytes, std::size_t least) {
  if (bytes.size() < std::max<std::size_t>(least, 1)) return false;
  int behind = 0;  // that the last character still needs; the end may cut one
  for (const auto raw : bytes.first(std::min(bytes.size(), kBytesLookedAt))) {
    const auto byte = static_cast<std::uint8_t>(raw);
    if (is_control(byte) || (behind > 0) != ((byte & 0xc0) == 0x80)) return false;
    behind = behind > 0 ? behind - 1 : bytes_behind(byte);
    if (behind < 0) return false;
  }
  return true;
}

}  // namespace blockwise
