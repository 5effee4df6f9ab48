// Our Python package, called from the program.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// The interpreter: BLOCKWISE_PYTHON, that of .venv beside build/, or python3. Puts notebooks/
// of this checkout before what PYTHONPATH holds.
std::string python_interpreter();

// Standard output of `python -m ARGUMENTS...`. Throws InputError with its last line of errors where
// it ends with exit code 2, std::runtime_error where it fails otherwise or cannot be started.
std::string python_output(const std::vector<std::string>& arguments);

}  // namespace blockwise
