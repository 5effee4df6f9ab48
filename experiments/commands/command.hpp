// The verbs of the program. Adding one is a file here and a line in command.cpp.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

namespace blockwise {

// What a verb does once its options are parsed; returns the exit code.
using CommandAction = std::function<int()>;

struct Command {
  std::string name;
  std::string doc;
  std::string example;  // shown under --help
  CommandAction (*add_options)(CLI::App& verb);
};

const std::vector<Command>& commands();

// To standard error, where a plan or a result lacks something; nothing for an empty note.
void print_note(const std::string& note);

// The whole program: parses, runs, turns errors into one line and an exit code (exit_code.hpp).
int run_program(int argc, char** argv);

}  // namespace blockwise
