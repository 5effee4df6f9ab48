#include "experiments/terminal/progress_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/text/display_width.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kBarWidth = 24, kLeastWidthWithBar = 50;

std::string bar(double share, bool unicode) {
  const auto filled = static_cast<std::size_t>(share * double(kBarWidth));
  std::string text;
  for (std::size_t i = 0; i < kBarWidth; ++i) {
    text += i < filled ? (unicode ? "█" : "#") : (unicode ? "░" : ".");
  }
  return text;
}

std::string count_text(const ProgressState& state) {
  return fmt::format("{:.0f}/{:.0f} {}", state.done, state.total, state.title);
}

// Up to the next " | " or ", ", with what separates it from the part before.
std::string_view next_part(std::string_view text) {
  return text.substr(0, std::min({text.size(), text.find(" | ", 1), text.find(", ", 1)}));
}

}  // namespace

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}h {:02}m", s / 3600, s % 3600 / 60);
  if (s >= 60) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

std::string progress_line(const ProgressState& state, std::size_t width, bool unicode) {
  const double share = std::clamp(state.done / state.total, 0.0, 1.0);
  auto line = width < kLeastWidthWithBar ? "" : bar(share, unicode) + " ";
  line += fmt::format("{:3.0f}% {}", 100.0 * share, state.time);
  auto further = " | " + count_text(state) + (state.note.empty() ? "" : " | " + state.note);
  for (std::string_view rest = further; !rest.empty();) {
    const auto part = next_part(rest);
    if (display_width(line) + display_width(part) > width) break;
    line += part;
    rest.remove_prefix(part.size());
  }
  return std::string(fitting_start(line, width));
}

std::string progress_log_line(const ProgressState& state) {
  return fmt::format("{} | {}{}{}", state.time, count_text(state), state.note.empty() ? "" : " | ",
                     state.note);
}

}  // namespace blockwise
