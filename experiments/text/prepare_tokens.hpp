// Token files from text, by our Python package blockwise.tokens.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// Becomes `python -m blockwise.tokens ARGUMENTS` (exec), so that signals, the terminal and the exit
// code are that program's: 0 done, 1 failed, 2 bad input. How Python is started: python.hpp. Throws
// InputError naming the interpreter where it cannot be started.
[[noreturn]] void prepare_tokens(const std::vector<std::string>& arguments);

}  // namespace blockwise
