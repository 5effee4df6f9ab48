// How many columns a text takes on a terminal, and text broken to fit into some.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

// Of files and pipes: whoever reads them breaks the lines.
inline constexpr std::size_t kUnlimitedWidth = std::numeric_limits<std::size_t>::max();

// Columns of UTF-8 text without control characters: two for the wide characters of East Asian
// scripts and pictographs, none for combining marks, one for all else.
std::size_t display_width(std::string_view text);

// The longest start of the text, of whole characters, that takes at most so many columns; at least
// one character of a text that is not empty.
std::string_view fitting_start(std::string_view text, std::size_t width);

// Pieces of at most `width` columns, cut at a space, else behind one of "._/,:=-", else between
// characters. Spaces at a cut go; all else stays. An empty text is one empty piece.
std::vector<std::string> broken(std::string_view text, std::size_t width);

// Every line of the text broken at spaces to at most `width` columns; the further lines that it
// becomes begin with its own indentation and `hanging` more spaces. A word that is too long for a
// line, like a path, stays whole: who copies it gets it.
std::string wrapped(std::string_view text, std::size_t width, std::size_t hanging = 0);

// `name` and behind it `meaning`, whose further lines stand under its first.
std::string wrapped_entry(const std::string& name, const std::string& meaning, std::size_t width);

// A line for a shell: broken before words that begin with "--", with the backslash that makes
// several lines one command.
std::string wrapped_command(const std::string& line, std::size_t width);

}  // namespace blockwise
