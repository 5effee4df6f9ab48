// Reads the sections of a YAML file: every field by its own description, unknown keys refused.
#pragma once

#include "experiments/config/yaml_tree.hpp"

namespace blockwise {

// A `sweep` section is left alone. Throws InputError with place, key, value and bound.
RunConfig read_run_config(const YamlDocument::Tree& tree);
// The section `sweep`. Throws the same, also where there is no such section.
SweepConfig read_sweep_config(const YamlDocument::Tree& tree);
// The section `optimizer`, and no other.
OptimizerConfig read_optimizer_config(const YamlDocument::Tree& tree);

}  // namespace blockwise
