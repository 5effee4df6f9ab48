// The file of the running program, for processes that are to be this program, too.
#pragma once

#include <string>

namespace blockwise {

// Throws std::filesystem::filesystem_error where the system does not say (no /proc).
std::string own_program();

}  // namespace blockwise
