#include "experiments/commands/command.hpp"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <stdexcept>
#include <variant>

#include "core/io/truncated_input.hpp"
#include "experiments/command_line/command_line.hpp"
#include "experiments/command_line/failure.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

// LibTorch's errors, of which the rest of the command line knows nothing, without their stack.
int run(const VerbOptions& options) {
  try {
    return std::visit([](const auto& told) { return run_verb(told); }, options);
  } catch (const c10::Error& error) {
    throw std::runtime_error(error.what_without_backtrace());
  }
}

}  // namespace

void print_note(const std::string& note) {
  if (note.empty()) return;
  const auto text = fmt::format("blockwise: note: {}\n", note);
  fmt::print(stderr, "{}", wrapped(text, columns_of(STDERR_FILENO), 2));
}

int run_program(int argc, char** argv) {
  end_on_truncated_input();
  return run_words(argc, argv);
}

int run_words(int argc, char** argv) {
  return explain_failures([&] {
    const auto options = read_command_line(argc, argv);
    return options ? run(*options) : 0;
  });
}

}  // namespace blockwise
