// Our Python package, called from the program.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// The words that run `python -m ARGUMENTS...` isolated (-I): modules come from the folder of our
// package and from what the interpreter was installed with. Nothing is taken from the current
// folder, from PYTHONPATH and its kin or from the user's own site-packages, so that a json.py
// beside somebody's data is not run. Interpreter: what BLOCKWISE_PYTHON names, otherwise the one
// that the build was configured with. Folder: what BLOCKWISE_PYTHON_PATH names, otherwise python/
// of the build's checkout, or PREFIX/share/blockwise/python once installed. Throws InputError where
// that holds no package blockwise.
std::vector<std::string> python_command(const std::vector<std::string>& arguments);

// Standard output of that command. Throws InputError where it ends with exit code 2 (it has said
// why), std::runtime_error where it fails otherwise or cannot be started.
std::string python_output(const std::vector<std::string>& arguments);

}  // namespace blockwise
