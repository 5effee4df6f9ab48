// The flat buffer as consecutive runs of parameters: what is before the layers, every layer, what
// is between and behind them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/parameters/element_range.hpp"
#include "core/parameters/parameter_layout.hpp"

namespace blockwise {

struct WeightUnit {
  std::size_t first = 0, last = 0;  // parameters [first, last)
  ElementRange elements;
  std::int64_t layer = -1;  // -1: outside of those that are apart
};

// `layers`: those below it are units of their own; 0: one unit of everything. Throws InvariantError
// where the parameters of a layer do not follow each other, or one has none.
std::vector<WeightUnit> weight_units(const ParameterLayout& layout, std::int64_t layers);

}  // namespace blockwise
