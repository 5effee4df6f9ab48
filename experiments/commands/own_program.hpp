// The file of the running program, for processes that are to be this program, too.
#pragma once

#include <string>

namespace blockwise {

// The system's link to it.
inline constexpr char kOwnProgram[] = "/proc/self/exe";

// Throws std::filesystem::filesystem_error where the system does not say (no /proc).
std::string own_program();

}  // namespace blockwise
