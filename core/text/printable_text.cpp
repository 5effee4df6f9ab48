#include "core/text/printable_text.hpp"

#include <fmt/format.h>

#include <cstdint>

namespace blockwise {
namespace {

struct Character {
  char32_t code;
  std::size_t bytes;  // 0: no UTF-8
};

// Bytes of a sequence by its first one; 0 for a byte that starts none.
std::size_t sequence_bytes(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

// The first character of a text that is not empty, by RFC 3629: no surrogates, nothing longer than
// it has to be, nothing above U+10FFFF.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto bytes = sequence_bytes(byte(0));
  if (bytes == 0 || bytes > text.size()) return {0, 0};
  if (bytes == 1) return {byte(0), 1};
  char32_t code = byte(0) & (0x7Fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 0};
    code = (code << 6) | (byte(i) & 0x3Fu);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < kSmallest[bytes] || code > 0x10FFFF || surrogate) return {0, 0};
  return {code, bytes};
}

bool is_control(char32_t code) { return code < 0x20 || (code >= 0x7F && code < 0xA0); }

// Line and paragraph separators, and what turns the direction of the text around it.
bool is_mark(char32_t code) {
  return code == 0x061C || code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

std::string written_out(const Character& character, std::string_view bytes) {
  if (character.bytes == 0 || is_control(character.code)) {
    std::string out;
    for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return out;
  }
  if (is_mark(character.code)) {
    return fmt::format("\\u{{{:04x}}}", static_cast<std::uint32_t>(character.code));
  }
  return std::string(bytes);
}

// All characters but those of `plain` written out where a terminal would obey them.
std::string printable_but(std::string_view text, std::string_view plain) {
  std::string out;
  while (!text.empty()) {
    const auto character = first_character(text);
    const auto bytes = text.substr(0, std::size_t{character.bytes == 0 ? 1 : character.bytes});
    const bool stays = bytes.size() == 1 && plain.find(bytes.front()) != std::string_view::npos;
    out += stays ? std::string(bytes) : written_out(character, bytes);
    text.remove_prefix(bytes.size());
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return printable_but(text, ""); }

std::string printable_lines(std::string_view text) { return printable_but(text, "\n\t"); }

std::string name_problem(std::string_view name) {
  if (name.empty()) return "a name cannot be empty";
  if (name.size() > kLongestName) {
    return fmt::format("a name of {} bytes, at most {} are allowed", name.size(), kLongestName);
  }
  if (name.find('/') != std::string_view::npos) {
    return fmt::format("'{}': a name cannot hold '/'", printable(name));
  }
  if (name == "." || name == "..") return fmt::format("'{}' is no name: it is a folder's", name);
  if (printable(name) != name) {
    return fmt::format("'{}': a name cannot hold control characters or bytes that are no UTF-8",
                       printable(name));
  }
  return "";
}

}  // namespace blockwise
