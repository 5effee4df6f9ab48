// Reads the section `sweep`, whose keys are names of other keys.
#pragma once

#include "experiments/config/yaml_tree.hpp"

namespace blockwise {

// Throws InputError with place and key; also where there is no such section.
SweepConfig read_sweep_config(const YamlDocument::Tree& tree);

}  // namespace blockwise
