// The command line: its words to a verb's options, and what is said of words that do not fit.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace blockwise {

// Reads the words. Throws InputError, naming the verb or flag that was probably meant, for words
// that do not fit. True where what was asked for is printed already: help or the version; help is
// what the program alone says, too.
bool parse_command_line(CLI::App& program, int argc, char** argv);

// `--set key=value`, which may be repeated. The list lives as long as the verb.
void add_set_option(CLI::App& verb, std::vector<std::string>& assignments);

}  // namespace blockwise
