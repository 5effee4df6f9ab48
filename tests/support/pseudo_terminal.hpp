// The built program on a terminal of a given width, as somebody who sits there sees it.
#pragma once

#include <string>
#include <vector>

namespace blockwise::testing {

struct TerminalResult {
  int exit_code = -1;
  std::string screen;  // standard output and error, as they were written
};

// `environment` are assignments like "TERM=dumb", over those of the test; COLUMNS is not set.
TerminalResult run_on_terminal(const std::vector<std::string>& arguments, int columns,
                               const std::vector<std::string>& environment = {});

// What stood on a line at any time: the pieces between carriage returns and line feeds, without the
// sequence that erases a line.
std::vector<std::string> shown_lines(const std::string& screen);

}  // namespace blockwise::testing
