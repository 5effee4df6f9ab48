// Runs the built program as a user does.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace blockwise::testing {

struct ProgramResult {
  int exit_code = -1;    // -signal where a signal ended it
  double seconds = 0.0;  // wall time
  std::string output;    // standard output
  std::string errors;    // standard error
};

// `prefix` is a shell fragment before the program: commands that end in a semicolon, for example
// "ulimit -f 100;", or a program that starts it, for example "timeout 5".
ProgramResult run_program(const std::vector<std::string>& arguments,
                          const std::string& prefix = "");

// Prefixes that kill the program at these shares of the seconds that it takes.
std::vector<std::string> kills_during(double seconds, const std::vector<double>& shares);

// Starts the program and returns its process, for tests that kill it. errors: a file for its
// standard error.
pid_t start_program(const std::vector<std::string>& arguments,
                    const std::string& errors = "/dev/null");

// Its path.
std::string program_path();

}  // namespace blockwise::testing
