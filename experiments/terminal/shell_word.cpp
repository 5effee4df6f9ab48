#include "experiments/terminal/shell_word.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace blockwise {

std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./=:,+@%").find(char(c)) != std::string::npos;
  });
  if (plain) return word;
  std::string text(1, '\'');
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + '\'';
}

}  // namespace blockwise
