#include "tests/support/pseudo_terminal.hpp"

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/program.hpp"

namespace blockwise::testing {
namespace {

[[noreturn]] void become_program(const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& environment) {
  ::unsetenv("COLUMNS");
  for (const auto& assignment : environment) {
    const auto equals = assignment.find('=');
    ::setenv(assignment.substr(0, equals).c_str(), assignment.substr(equals + 1).c_str(), 1);
  }
  auto words = arguments;
  words.insert(words.begin(), program_path());
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(pointers.front(), pointers.data());
  ::_exit(127);
}

}  // namespace

TerminalResult run_on_terminal(const std::vector<std::string>& arguments, int columns,
                               const std::vector<std::string>& environment) {
  winsize size{};
  size.ws_row = 24;
  size.ws_col = static_cast<unsigned short>(columns);
  int terminal = -1;
  const pid_t process = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (process == 0) become_program(arguments, environment);
  TerminalResult result;
  char buffer[4096];
  // Of a terminal whose other side is closed, reading fails.
  for (auto count = ::read(terminal, buffer, sizeof(buffer)); count > 0;
       count = ::read(terminal, buffer, sizeof(buffer))) {
    result.screen.append(buffer, static_cast<std::size_t>(count));
  }
  ::close(terminal);
  int status = 0;
  ::waitpid(process, &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return result;
}

std::vector<std::string> shown_lines(const std::string& screen) {
  const std::string erase = "\x1b[K";
  std::vector<std::string> lines(1);
  for (std::size_t i = 0; i < screen.size(); ++i) {
    if (screen.compare(i, erase.size(), erase) == 0) {
      i += erase.size() - 1;
    } else if (screen[i] == '\r' || screen[i] == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += screen[i];
    }
  }
  return lines;
}

}  // namespace blockwise::testing
