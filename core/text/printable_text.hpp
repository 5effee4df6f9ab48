// Text of files and names on its way to a terminal.
#pragma once

#include <string>
#include <string_view>

namespace blockwise {

// The text with everything that a terminal would obey, and not show, written out: control
// characters (C0, DEL and C1, so also line breaks) and bytes that are no UTF-8 as \xNN, marks that
// change the direction or break the line as \u{NNNN}. Other UTF-8 stays as it is.
std::string printable(std::string_view text);

// Text of several lines, written out as by printable() but for line feeds and tabs, which stay.
std::string printable_lines(std::string_view text);

// What forbids the text as the name of a run, a sweep, a group or a member, which becomes a folder
// and a line on a terminal: "" where nothing does. Allowed are 1 to kLongestName bytes of text
// that is printable as it is, without '/', and neither "." nor "..".
inline constexpr std::size_t kLongestName = 240;
std::string name_problem(std::string_view name);

}  // namespace blockwise
