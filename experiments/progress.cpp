#include "experiments/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "experiments/printable_text.hpp"

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kBarWidth = 24;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

std::string bar(double share) {
  const int filled = static_cast<int>(share * kBarWidth);
  std::string text;
  for (int i = 0; i < kBarWidth; ++i) text += i < filled ? "█" : "░";
  return text;
}

// Nobody may be reading: a terminal that is gone or a full disk under a log does not stop the work.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}h {:02}m", s / 3600, s % 3600 / 60);
  if (s >= 60) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

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
  print(fmt::format("{}{}\n", terminal_ ? "\r\x1b[K" : "", printable(line)));
  if (terminal_ && !finished_) draw(false);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  draw(true);
}

void Progress::draw(bool last) {
  drawn_ = Clock::now();
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  const double elapsed = seconds_since(start_);
  const auto fresh = done_ - first_;
  const double left = fresh > 0 ? elapsed / double(fresh) * double(total_ - done_) : 0.0;
  const auto time = last ? fmt::format("took {}", duration_text(elapsed))
                         : fmt::format("{} left", fresh > 0 ? duration_text(left) : "?");
  const auto text = fmt::format("{} {}/{} | {}{}{}", title_, done_, total_, note_,
                                note_.empty() ? "" : " | ", time);
  if (!terminal_) return print(text + "\n");
  const auto room = terminal_columns() - std::min<std::size_t>(terminal_columns(), kBarWidth + 8);
  print(fmt::format("\r\x1b[K{} {:3.0f}% {}{}", bar(std::min(1.0, share)), 100.0 * share,
                    text.substr(0, room), last ? "\n" : ""));
}

}  // namespace blockwise
