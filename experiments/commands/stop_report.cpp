#include "experiments/commands/stop_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "core/text/printable_text.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/shell_word.hpp"
#include "experiments/terminal/stop_signal.hpp"

namespace blockwise {

// The kernel keeps the words, each with a zero byte behind it.
std::string this_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string words{std::istreambuf_iterator<char>(file), {}};
  std::string text;
  for (std::size_t begin = 0; begin < words.size();) {
    const auto end = std::min(words.find('\0', begin), words.size());
    if (!text.empty()) text += ' ';
    text += shell_word(words.substr(begin, end - begin));
    begin = end + 1;
  }
  return printable(text);
}

int report_stop(bool json) {
  fmt::print(json ? stderr : stdout, "Stopped by {}. This goes on:\n  {}\n", stop_signal_name(),
             this_command());
  return kExitInterrupted;
}

}  // namespace blockwise
