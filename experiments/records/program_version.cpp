#include "experiments/records/program_version.hpp"

#include <fmt/format.h>

#include "experiments/build_info.hpp"

namespace blockwise {

std::string program_version() { return fmt::format("{} ({})", kVersion, kGitCommit); }

}  // namespace blockwise
