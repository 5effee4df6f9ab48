// The command line: its words to a verb's options, and what is said of words that do not fit.
#pragma once

#include <optional>

#include "experiments/command_line/verbs.hpp"

namespace blockwise {

// Reads the words. Throws InputError, naming the verb or flag that was probably meant, for words
// that do not fit. Nothing where what was asked for is printed already: help or the version; help
// is what the program alone says, too.
std::optional<VerbOptions> read_command_line(int argc, char** argv);

}  // namespace blockwise
