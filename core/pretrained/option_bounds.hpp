// The bounds of a family's options, as its visit() states them for the YAML, on a model that
// another file describes.
#pragma once

#include <map>
#include <string>

#include "core/model.hpp"

namespace blockwise {

// What an option is called in that file, by its name in the YAML ("rope_scaling.factor"); an option
// that is not in the table keeps its own name.
using OptionNames = std::map<std::string, std::string>;

// Throws InputError "PLACE: NAME is VALUE, allowed are MIN to MAX" for the first option out of its
// bounds, and with the reason for options that contradict each other.
void check_option_bounds(ModelSpec& spec, const std::string& place, const OptionNames& names);

}  // namespace blockwise
