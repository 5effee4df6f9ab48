#include "experiments/sweeps/holm.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace blockwise {

std::vector<double> holm_adjusted(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p_values[i]; });
  std::vector<double> adjusted(p_values.size());
  double highest = 0.0;
  for (std::size_t j = 0; j < order.size(); ++j) {
    const auto left = static_cast<double>(order.size() - j);
    highest = std::max(highest, std::min(1.0, left * p_values[order[j]]));
    adjusted[order[j]] = highest;
  }
  return adjusted;
}

}  // namespace blockwise
