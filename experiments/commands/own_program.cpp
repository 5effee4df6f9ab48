#include "experiments/commands/own_program.hpp"

#include <filesystem>

namespace blockwise {

std::string own_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

}  // namespace blockwise
