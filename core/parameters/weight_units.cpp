#include "core/parameters/weight_units.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace blockwise {

std::vector<WeightUnit> weight_units(const ParameterLayout& layout, std::int64_t layers) {
  std::vector<WeightUnit> units;
  const auto& parameters = layout.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& parameter = parameters[i];
    const auto layer = parameter.layer < layers ? parameter.layer : -1;
    if (units.empty() || units.back().layer != layer) {
      units.push_back({i, i, {parameter.offset, parameter.offset}, layer});
    }
    units.back().last = i + 1;
    units.back().elements.end = parameter.offset + parameter.size();
  }
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    check_equal(std::ranges::count(units, layer, &WeightUnit::layer), std::ptrdiff_t{1},
                "runs of parameters of a layer");
  }
  return units;
}

}  // namespace blockwise
