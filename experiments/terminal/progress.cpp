#include "experiments/terminal/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/text/printable_text.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One column is left free: some terminals go to the next line behind the last one.
std::size_t line_columns() {
  const auto columns = columns_of(STDERR_FILENO);
  return columns == kUnlimitedWidth ? 79 : columns - 1;
}

// A dumb terminal knows no sequence that erases: spaces over what may stand there do.
std::string erased_line() {
  const char* kind = std::getenv("TERM");
  const bool dumb = kind == nullptr || std::string_view(kind) == "dumb";
  return dumb ? fmt::format("\r{:{}}\r", "", line_columns()) : "\r\x1b[K";
}

// Nobody may be reading: a terminal that is gone or a full disk under a log does not stop the work.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(const std::string& title, std::int64_t total, std::int64_t done)
    : title_(printable(title)),
      total_(std::max<std::int64_t>(1, total)),
      first_(done),
      done_(done),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      drawn_(start_ - std::chrono::hours(1)) {}

Progress::~Progress() { finish(); }

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  note_ = printable(note);
  if (seconds_since(drawn_) >= (terminal_ ? 0.1 : 10.0)) draw(false);
}

void Progress::message(const std::string& line) {
  if (!terminal_) return print(printable(line) + "\n");
  print(erased_line() + wrapped(printable(line), columns_of(STDERR_FILENO), 2) + "\n");
  if (!finished_) draw(false);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  draw(true);
}

void Progress::draw(bool last) {
  drawn_ = Clock::now();
  const double elapsed = seconds_since(start_);
  const auto fresh = done_ - first_;
  const double left = fresh > 0 ? elapsed / double(fresh) * double(total_ - done_) : 0.0;
  const auto time = last        ? "took " + duration_text(elapsed)
                    : fresh > 0 ? duration_text(left) + " left"
                                : "? left";
  const ProgressState state{title_, double(done_), double(total_), time, note_};
  if (!terminal_) return print(progress_log_line(state) + "\n");
  print(erased_line() + progress_line(state, line_columns(), draws_unicode()) + (last ? "\n" : ""));
}

}  // namespace blockwise
