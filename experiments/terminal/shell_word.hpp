// Words of a command as a shell reads them.
#pragma once

#include <string>

namespace blockwise {

// The word as it is where no shell would change it, otherwise in single quotes.
std::string shell_word(const std::string& word);

}  // namespace blockwise
