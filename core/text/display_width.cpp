#include "core/text/display_width.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace blockwise {
namespace {

// Of an entry's meaning: less would be a word a line.
constexpr std::size_t kLeastRoom = 20;

using Range = std::pair<char32_t, char32_t>;

// Blocks of Unicode whose characters have East Asian Width W or F (UAX 11), and the pictographs.
constexpr std::array<Range, 11> kWide = {{{0x1100, 0x115F},
                                          {0x2E80, 0x303E},
                                          {0x3041, 0xA4CF},
                                          {0xAC00, 0xD7A3},
                                          {0xF900, 0xFAFF},
                                          {0xFE30, 0xFE6F},
                                          {0xFF00, 0xFF60},
                                          {0xFFE0, 0xFFE6},
                                          {0x1F300, 0x1F64F},
                                          {0x1F900, 0x1FAFF},
                                          {0x20000, 0x3FFFD}}};
constexpr std::array<Range, 5> kCombining = {
    {{0x0300, 0x036F}, {0x1AB0, 0x1AFF}, {0x200B, 0x200D}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}}};

template <std::size_t n>
bool lies_in(const std::array<Range, n>& ranges, char32_t code) {
  return std::ranges::any_of(
      ranges, [code](const Range& range) { return code >= range.first && code <= range.second; });
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Bytes of the first character, of a text that is not empty.
std::size_t first_bytes(std::string_view text) {
  std::size_t bytes = 1;
  while (bytes < text.size() && bytes < 4 && continues(text[bytes])) ++bytes;
  return bytes;
}

char32_t code_of(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (character.size() == 1) return first;
  char32_t code = first & (0x7Fu >> character.size());
  for (const char c : character.substr(1)) {
    code = (code << 6) | (static_cast<unsigned char>(c) & 0x3Fu);
  }
  return code;
}

std::size_t width_of(std::string_view character) {
  const auto code = code_of(character);
  if (lies_in(kCombining, code)) return 0;
  return lies_in(kWide, code) ? 2 : 1;
}

std::string_view without_end_spaces(std::string_view text) {
  const auto last = text.find_last_not_of(' ');
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

std::string_view without_start_spaces(std::string_view text) {
  return text.substr(std::min(text.size(), text.find_first_not_of(' ')));
}

void append_line(std::string& out, std::string_view text, const std::string& indent) {
  out += indent;
  out += without_end_spaces(text);
  out += '\n';
}

// The next line of `rest` at its spaces, taken off it.
std::string_view next_line(std::string_view& rest, std::size_t room) {
  const auto whole = std::exchange(rest, {});
  if (display_width(whole) <= room) return whole;
  const auto fits = fitting_start(whole, room + 1).size();  // a space may stand behind the end
  auto space = whole.substr(0, fits).rfind(' ');
  if (space == 0 || space == std::string_view::npos) space = whole.find(' ', 1);
  if (space == std::string_view::npos) return whole;
  rest = without_start_spaces(whole.substr(space));
  return whole.substr(0, space);
}

void wrap_line(std::string& out, std::string_view line, std::size_t width, std::size_t hanging) {
  const auto own = line.size() - without_start_spaces(line).size();
  auto rest = line.substr(own);
  std::string indent(own, ' ');
  const auto room = [&] { return width - std::min(width, indent.size()); };
  do {
    append_line(out, next_line(rest, room()), indent);
    indent = std::string(own + hanging, ' ');
  } while (!rest.empty());
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const auto character = text.substr(0, first_bytes(text));
    width += width_of(character);
    text.remove_prefix(character.size());
  }
  return width;
}

std::string_view fitting_start(std::string_view text, std::size_t width) {
  std::size_t taken = 0, columns = 0;
  while (taken < text.size()) {
    const auto character = text.substr(taken, first_bytes(text.substr(taken)));
    columns += width_of(character);
    if (columns > width && taken > 0) break;
    taken += character.size();
  }
  return text.substr(0, taken);
}

std::vector<std::string> broken(std::string_view text, std::size_t width) {
  std::vector<std::string> pieces;
  do {
    auto piece = fitting_start(text, width);
    if (piece.size() < text.size() && text[piece.size()] != ' ') {
      auto cut = piece.rfind(' ');
      if (cut == std::string_view::npos) cut = piece.find_last_of("._/,:=-");
      if (cut != std::string_view::npos) piece = piece.substr(0, cut + 1);
    }
    text = without_start_spaces(text.substr(piece.size()));
    pieces.emplace_back(without_end_spaces(piece));
  } while (!text.empty());
  return pieces;
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t hanging) {
  std::string out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    wrap_line(out, text.substr(0, end), width, hanging);
    if (end == text.size()) out.pop_back();
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return out;
}

std::string wrapped_entry(const std::string& name, const std::string& meaning, std::size_t width) {
  const auto indent = display_width(name);
  const auto room = width > indent + kLeastRoom ? width - indent : kLeastRoom;
  auto text = wrapped(meaning, room);
  for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
    text.insert(at + 1, indent, ' ');
  }
  return name + text;
}

std::string wrapped_command(const std::string& line, std::size_t width) {
  if (display_width(line) <= width) return line;
  if (line.find(" --") == std::string::npos) return wrapped(line, width, 2);
  std::string out, current;
  for (std::size_t begin = 0; begin < line.size();) {
    const auto end = std::min(line.find(" --", begin + 1), line.size());
    const auto part = line.substr(begin, end - begin);
    // The backslash and the space before it.
    if (!current.empty() && display_width(current) + display_width(part) + 2 > width) {
      out += current + " \\\n";
      current = "   ";
    }
    current += part;
    begin = end;
  }
  return out + current;
}

}  // namespace blockwise
