// Another program's answer to a question.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace blockwise {

struct CommandOutput {
  int exit_code = 0;  // -signal where a signal ended it
  std::string output;
  std::string errors;
};

// Runs a program of the PATH with `input` on its standard input, and waits for it. Nothing where
// there is no such program. Throws std::runtime_error where it cannot be started.
std::optional<CommandOutput> run_command(std::vector<std::string> words,
                                         const std::string& input = "");

}  // namespace blockwise
