// What to type after a search: the command that trains with what it found.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// "blockwise train CONFIG --set SETTING ..." for settings of the form key=value. A file with a
// section `sweep` is not trained by itself: there the settings go into one of its groups.
// Throws InputError where the file cannot be read.
std::string next_step(const std::string& config, const std::vector<std::string>& settings);

}  // namespace blockwise
