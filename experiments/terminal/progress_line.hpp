// The text of a progress line, for a terminal of any width.
#pragma once

#include <cstddef>
#include <string>

namespace blockwise {

// "1h 02m", "3m 20s", "12s"
std::string duration_text(double seconds);

struct ProgressState {
  std::string title;
  double done = 0.0, total = 1.0;  // units of work
  std::string time;                // "3m 20s left"
  std::string note;                // parts behind " | " or ", ", the most important first
};

// `bar  45% 3m 20s left | 450/1000 title | note`: what the reader wants first stands first, and the
// last parts go where at most `width` columns are there; below 50 so does the bar. Its blocks are
// ASCII characters unless `unicode`.
std::string progress_line(const ProgressState& state, std::size_t width, bool unicode);
// All parts whatever the width, without a bar: a line of a log.
std::string progress_log_line(const ProgressState& state);

}  // namespace blockwise
