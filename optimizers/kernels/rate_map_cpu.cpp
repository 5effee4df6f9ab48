#include "optimizers/kernels/rate_map.hpp"

#include <algorithm>

namespace blockwise::kernels {

void RateMap::fill(std::int64_t begin, std::int64_t count, float* rates) const {
  if (labels != nullptr) {
    for (std::int64_t i = 0; i < count; ++i) {
      rates[i] = static_cast<float>(values[labels[begin + i]]);
    }
    return;
  }
  const auto across = (columns + tile_columns - 1) / tile_columns;
  for (std::int64_t i = 0; i < count;) {
    const auto row = (begin + i) / columns, column = (begin + i) % columns;
    const auto tile = column / tile_columns;
    const auto end_of_tile = std::min(columns, (tile + 1) * tile_columns);
    const auto length = std::min(count - i, end_of_tile - column);
    std::fill_n(rates + i, length, static_cast<float>(values[row / tile_rows * across + tile]));
    i += length;
  }
}

}  // namespace blockwise::kernels
