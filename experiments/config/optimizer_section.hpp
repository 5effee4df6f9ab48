// The section `optimizer` of a configuration alone, for verbs that train no model.
#pragma once

#include <string>
#include <vector>

#include "optimizers/optimizer_config.hpp"

namespace blockwise {

// A key below `optimizer`, dotted, and a YAML value; `origin` is named in errors.
struct Setting {
  std::string key, value, origin;
};

// Later settings of a key win; `place` is named for what is missing. Throws InputError as for a
// file.
OptimizerConfig read_optimizer_section(const std::string& place,
                                       const std::vector<Setting>& settings);

}  // namespace blockwise
