// Which program this is.
#pragma once

#include <string>

namespace blockwise {

// "0.1.0 (1a2b3c4)"
std::string program_version();

}  // namespace blockwise
