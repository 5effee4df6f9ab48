#include "optimizers/kernels/block_rates.hpp"

#include <algorithm>
#include <numeric>

#include "optimizers/kernels/parallel_loop.hpp"

namespace blockwise::kernels {
namespace {

double scale_run(const float* before, float* w, std::int64_t count, float rate) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float step = rate * (w[i] - before[i]);
    w[i] = before[i] + step;
    sum += static_cast<double>(step) * static_cast<double>(step);
  }
  return sum;
}

template <typename Row>
double over_rows(std::int64_t rows, std::int64_t columns, Workspace& space, const Row& row) {
  constexpr std::int64_t kElementsForThreads = 1 << 15;
  space.partials.assign(static_cast<std::size_t>(rows), 0.0);
  double* partials = space.partials.data();
  parallel_loop(rows, rows * columns > kElementsForThreads,
                [&](std::int64_t i) { partials[i] = row(i); });
  return std::accumulate(space.partials.begin(), space.partials.end(), 0.0);
}

}  // namespace

double scale_tiles(const float* before, float* w, std::int64_t rows, std::int64_t columns,
                   std::int64_t tile_rows, std::int64_t tile_columns, const double* rates,
                   Workspace& space) {
  const auto across = (columns + tile_columns - 1) / tile_columns;
  return over_rows(rows, columns, space, [&](std::int64_t row) {
    const double* of_row = rates + row / tile_rows * across;
    double sum = 0.0;
    for (std::int64_t tile = 0; tile < across; ++tile) {
      const auto first = tile * tile_columns;
      const auto at = row * columns + first;
      sum += scale_run(before + at, w + at, std::min(tile_columns, columns - first),
                       static_cast<float>(of_row[tile]));
    }
    return sum;
  });
}

double scale_labels(const float* before, float* w, std::int64_t rows, std::int64_t columns,
                    const std::int32_t* labels, const double* rates, Workspace& space) {
  return over_rows(rows, columns, space, [&](std::int64_t row) {
    double sum = 0.0;
    for (auto i = row * columns; i < (row + 1) * columns; ++i) {
      sum += scale_run(before + i, w + i, 1, static_cast<float>(rates[labels[i]]));
    }
    return sum;
  });
}

}  // namespace blockwise::kernels
