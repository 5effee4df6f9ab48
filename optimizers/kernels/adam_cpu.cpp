#include "optimizers/kernels/adam.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "optimizers/kernels/parallel_loop.hpp"

namespace blockwise::kernels {
namespace {

// Elements per task. Small enough that a task's working set stays in the second-level cache.
constexpr std::int64_t kChunk = 1 << 14;
// A band of tiles above this is reduced in one sweep and updated in a second one.
constexpr std::int64_t kBandInCache = 1 << 18;
// Partial sums per band: bounds the scratch of wide tensors, and is work enough for many threads.
constexpr std::int64_t kChunksPerBand = 64;

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Calls task(i) for i in [0, count) on all threads and adds what they return in the order of i.
template <typename Task>
double parallel_sum(std::int64_t count, std::int64_t elements, Workspace& space, const Task& task) {
  space.partials.assign(static_cast<std::size_t>(count), 0.0);
  double* partials = space.partials.data();
  parallel_loop(count, elements > 2 * kChunk, [&](std::int64_t i) { partials[i] = task(i); });
  return std::accumulate(space.partials.begin(), space.partials.end(), 0.0);
}

// One task per kChunk elements of a flat run.
template <typename Task>
double over_chunks(std::int64_t n, Workspace& space, const Task& task) {
  return parallel_sum(ceil_divide(n, kChunk), n, space, [&](std::int64_t i) {
    const std::int64_t begin = i * kChunk;
    return task(begin, std::min(kChunk, n - begin));
  });
}

// Rows that one task reduces, a function of the shape alone.
std::int64_t rows_per_chunk(std::int64_t band_rows, std::int64_t columns) {
  return std::min(band_rows,
                  std::max(ceil_divide(kChunk, columns), ceil_divide(band_rows, kChunksPerBand)));
}

// The tiles of a matrix as the loops need them.
struct TileGrid {
  std::int64_t rows, columns;
  std::int64_t tile_rows, tile_columns;
  std::int64_t bands, across;  // tiles down and along
  std::int64_t chunk_rows;     // rows that one task reduces; a chunk never crosses a band
  std::int64_t chunks_per_band;

  TileGrid(std::int64_t rows_, std::int64_t columns_, std::int64_t tile_rows_,
           std::int64_t tile_columns_)
      : rows(rows_),
        columns(columns_),
        tile_rows(std::min(tile_rows_, rows_)),
        tile_columns(std::min(tile_columns_, columns_)),
        bands(ceil_divide(rows, tile_rows)),
        across(ceil_divide(columns, tile_columns)),
        chunk_rows(rows_per_chunk(tile_rows, columns)),
        chunks_per_band(ceil_divide(tile_rows, chunk_rows)) {}

  std::int64_t band_begin(std::int64_t band) const { return band * tile_rows; }
  std::int64_t band_rows(std::int64_t band) const {
    return std::min(tile_rows, rows - band_begin(band));
  }
  std::int64_t chunks() const { return bands * chunks_per_band; }
  // First row and number of rows of a chunk; none where the last band is shorter.
  std::pair<std::int64_t, std::int64_t> chunk(std::int64_t index) const {
    const std::int64_t band = index / chunks_per_band;
    const std::int64_t first = (index % chunks_per_band) * chunk_rows;
    return {band_begin(band) + first,
            std::max<std::int64_t>(0, std::min(chunk_rows, band_rows(band) - first))};
  }
  std::int64_t tile_width(std::int64_t tile) const {
    return std::min(tile_columns, columns - tile * tile_columns);
  }
};

// Sums of squares of rows [begin, begin + count), one per tile along the columns, added to sums.
void reduce_rows(const MatrixView& x, const TileGrid& grid, std::int64_t begin, std::int64_t count,
                 float scale, double* sums, float* column_sums) {
  if (grid.tile_columns == 1) {
    std::fill_n(column_sums, grid.columns, 0.0f);
    for (std::int64_t i = begin; i < begin + count; ++i) {
      add_squares(x.g + i * x.columns, x.columns, scale, column_sums);
    }
    for (std::int64_t j = 0; j < grid.columns; ++j) sums[j] += static_cast<double>(column_sums[j]);
    return;
  }
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const float* row = x.g + i * x.columns;
    for (std::int64_t t = 0; t < grid.across; ++t) {
      sums[t] += sum_squares(row + t * grid.tile_columns, grid.tile_width(t), scale);
    }
  }
}

// v of a band's tiles from their sums of squares; roots[t] = sqrt(v_t).
void update_band_moments(const TileGrid& grid, std::int64_t band, const double* sums, float* v,
                         float* roots, const AdamStep& step) {
  for (std::int64_t t = 0; t < grid.across; ++t) {
    const auto count = static_cast<double>(grid.band_rows(band) * grid.tile_width(t));
    float& value = v[band * grid.across + t];
    value = second_moment(value, static_cast<float>(sums[t] / count), step);
    roots[t] = std::sqrt(value);
  }
}

// Elements [at, at + count) of the matrix with one denominator.
double uniform_run(const MatrixView& x, std::int64_t at, std::int64_t count, float denominator,
                   const AdamStep& step) {
  return over_rates(x.rates, at, count, [&](auto offset, auto size, const float* rates) {
    const auto i = at + offset;
    return adam_uniform(x.w + i, x.g + i, x.m + i, size, denominator, rates, step);
  });
}

// The same with a root of the second moment per element of the run.
double columns_run(const MatrixView& x, std::int64_t at, std::int64_t count, const float* roots,
                   float root_scale, const AdamStep& step) {
  return over_rates(x.rates, at, count, [&](auto offset, auto size, const float* rates) {
    const auto i = at + offset;
    return adam_columns(x.w + i, x.g + i, x.m + i, size, roots + offset, root_scale, rates, step);
  });
}

double update_rows(const MatrixView& x, const TileGrid& grid, std::int64_t begin,
                   std::int64_t count, const float* band_v, const float* roots,
                   const AdamStep& step) {
  double moved = 0.0;
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const std::int64_t at = i * x.columns;
    if (grid.tile_columns == 1) {
      moved += columns_run(x, at, x.columns, roots, step.inverse_root_bias, step);
      continue;
    }
    for (std::int64_t t = 0; t < grid.across; ++t) {
      moved += uniform_run(x, at + t * grid.tile_columns, grid.tile_width(t),
                           denominator(band_v[t], step.inverse_root_bias, step), step);
    }
  }
  return moved;
}

// Bands that fit the cache: reduce, update the moments and step, band by band, so that the second
// read of g costs no memory traffic. Several narrow bands share a task.
double tiles_in_cache(const MatrixView& x, float* v, const TileGrid& grid, const AdamStep& step,
                      Workspace& space) {
  const std::int64_t band_elements = grid.tile_rows * grid.columns;
  const std::int64_t per_task = std::max<std::int64_t>(1, kChunk / band_elements);
  const std::int64_t tasks = ceil_divide(grid.bands, per_task);
  const auto width = static_cast<std::size_t>(grid.across);
  space.tile_sums.resize(static_cast<std::size_t>(tasks) * width);
  space.roots.resize(2 * static_cast<std::size_t>(tasks) * width);
  return parallel_sum(tasks, x.rows * x.columns, space, [&](std::int64_t task) {
    double* sums = space.tile_sums.data() + task * grid.across;
    float* roots = space.roots.data() + 2 * task * grid.across;
    double moved = 0.0;
    for (std::int64_t band = task * per_task; band < std::min(grid.bands, (task + 1) * per_task);
         ++band) {
      const std::int64_t begin = grid.band_begin(band), count = grid.band_rows(band);
      std::fill_n(sums, grid.across, 0.0);
      for (std::int64_t i = 0; i < count; i += grid.chunk_rows) {
        reduce_rows(x, grid, begin + i, std::min(grid.chunk_rows, count - i), step.gradient_scale,
                    sums, roots + grid.across);
      }
      update_band_moments(grid, band, sums, v, roots, step);
      moved += update_rows(x, grid, begin, count, v + band * grid.across, roots, step);
    }
    return moved;
  });
}

// Adds the partial sums of a band's chunks in their order; returns the total, one per tile.
double* sum_over_chunks(const TileGrid& grid, std::int64_t band, Workspace& space) {
  double* sums = space.tile_sums.data() + band * grid.chunks_per_band * grid.across;
  for (std::int64_t c = 1; c < grid.chunks_per_band; ++c) {
    for (std::int64_t t = 0; t < grid.across; ++t) sums[t] += sums[c * grid.across + t];
  }
  return sums;
}

// Large bands: all chunks of the matrix are reduced in parallel, then the moments, then the step.
double tiles_in_two_sweeps(const MatrixView& x, float* v, const TileGrid& grid,
                           const AdamStep& step, Workspace& space) {
  const auto width = static_cast<std::size_t>(grid.across);
  space.tile_sums.assign(static_cast<std::size_t>(grid.chunks()) * width, 0.0);
  space.roots.resize(static_cast<std::size_t>(grid.chunks()) * width);
  parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto [begin, count] = grid.chunk(chunk);
    reduce_rows(x, grid, begin, count, step.gradient_scale,
                space.tile_sums.data() + chunk * grid.across,
                space.roots.data() + chunk * grid.across);
    return 0.0;
  });
  for (std::int64_t band = 0; band < grid.bands; ++band) {
    double* sums = sum_over_chunks(grid, band, space);
    update_band_moments(grid, band, sums, v, space.roots.data() + band * grid.across, step);
  }
  return parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto [begin, count] = grid.chunk(chunk);
    const std::int64_t band = chunk / grid.chunks_per_band;
    return update_rows(x, grid, begin, count, v + band * grid.across,
                       space.roots.data() + band * grid.across, step);
  });
}

// One chunk of a factored section: the rows' factors are complete here, the columns' sums are
// partial.
void reduce_factors(const MatrixView& x, std::int64_t begin, std::int64_t count, float* r,
                    double* column_totals, float* column_sums, const AdamStep& step) {
  std::fill_n(column_sums, x.columns, 0.0f);
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const float* row = x.g + i * x.columns;
    const double mean =
        sum_squares(row, x.columns, step.gradient_scale) / static_cast<double>(x.columns);
    r[i] = second_moment(r[i], static_cast<float>(mean), step);
    add_squares(row, x.columns, step.gradient_scale, column_sums);
  }
  for (std::int64_t j = 0; j < x.columns; ++j) column_totals[j] = column_sums[j];
}

// c, its roots and the mean of r of one group. v_ij = r_i c_j / mean(r), so the root of the whole
// is sqrt(r_i) times sqrt(c_j / mean(r)); an all-zero group has v = 0, not 0 / 0.
void finish_group(const MatrixView& x, const TileGrid& grid, std::int64_t group, const double* sums,
                  const float* r, float* c, float* roots, const AdamStep& step) {
  const std::int64_t begin = grid.band_begin(group), count = grid.band_rows(group);
  const double mean_r = std::accumulate(r + begin, r + begin + count, 0.0) / double(count);
  for (std::int64_t j = 0; j < x.columns; ++j) {
    float& value = c[group * x.columns + j];
    value = second_moment(value, static_cast<float>(sums[j] / double(count)), step);
    roots[j] = mean_r > 0.0 ? static_cast<float>(std::sqrt(value / mean_r)) : 0.0f;
  }
}

}  // namespace

double adam_per_element(const MatrixView& x, float* v, const AdamStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      const auto i = begin + offset;
      return adam_elements(x.w + i, x.g + i, x.m + i, v + i, size, rates, step);
    });
  });
}

double momentum_step(const MatrixView& x, const AdamStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return uniform_run(x, begin, count, 1.0f, step);
  });
}

double adam_tiles(const MatrixView& x, float* v, std::int64_t tile_rows, std::int64_t tile_columns,
                  const AdamStep& step, Workspace& space) {
  const TileGrid grid(x.rows, x.columns, tile_rows, tile_columns);
  if (grid.tile_rows * grid.columns <= kBandInCache) {
    return tiles_in_cache(x, v, grid, step, space);
  }
  return tiles_in_two_sweeps(x, v, grid, step, space);
}

double adam_factored(const MatrixView& x, float* v, std::int64_t group_rows, const AdamStep& step,
                     Workspace& space) {
  const TileGrid grid(x.rows, x.columns, group_rows, 1);
  float* r = v;
  float* c = v + x.rows;
  const auto slots = static_cast<std::size_t>(grid.chunks() * x.columns);
  space.tile_sums.assign(slots, 0.0);
  space.roots.resize(slots);
  parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto [begin, count] = grid.chunk(chunk);
    reduce_factors(x, begin, count, r, space.tile_sums.data() + chunk * x.columns,
                   space.roots.data() + chunk * x.columns, step);
    return 0.0;
  });
  for (std::int64_t group = 0; group < grid.bands; ++group) {
    finish_group(x, grid, group, sum_over_chunks(grid, group, space), r, c,
                 space.roots.data() + group * x.columns, step);
  }
  return parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto [begin, count] = grid.chunk(chunk);
    const float* roots = space.roots.data() + chunk / grid.chunks_per_band * x.columns;
    double moved = 0.0;
    for (std::int64_t i = begin; i < begin + count; ++i) {
      moved += columns_run(x, i * x.columns, x.columns, roots,
                           std::sqrt(r[i]) * step.inverse_root_bias, step);
    }
    return moved;
  });
}

double adam_labels(const MatrixView& x, float* v, const std::int32_t* labels,
                   std::int64_t label_count, const AdamStep& step, Workspace& space) {
  const std::int64_t n = x.rows * x.columns;
  const auto values = static_cast<std::size_t>(label_count);
  space.tile_sums.assign(2 * values, 0.0);  // sums of squares, then counts
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = x.g[i] * step.gradient_scale;
    space.tile_sums[static_cast<std::size_t>(labels[i])] += static_cast<double>(g * g);
    space.tile_sums[values + static_cast<std::size_t>(labels[i])] += 1.0;
  }
  space.roots.resize(values + static_cast<std::size_t>(n));
  for (std::size_t b = 0; b < values; ++b) {
    const auto mean = static_cast<float>(space.tile_sums[b] / space.tile_sums[values + b]);
    v[b] = second_moment(v[b], mean, step);
    space.roots[b] = std::sqrt(v[b]);
  }
  float* roots = space.roots.data() + values;
  return over_chunks(n, space, [&](std::int64_t begin, std::int64_t count) {
    for (std::int64_t i = begin; i < begin + count; ++i) {
      roots[i] = space.roots[static_cast<std::size_t>(labels[i])];
    }
    return columns_run(x, begin, count, roots + begin, step.inverse_root_bias, step);
  });
}

double sgd_momentum(const MatrixView& x, const SgdStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      const auto i = begin + offset;
      return sgd(x.w + i, x.g + i, x.m + i, size, rates, step);
    });
  });
}

double gradient_descent(const MatrixView& x, const SgdStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      const auto i = begin + offset;
      return descend(x.w + i, x.g + i, size, rates, step);
    });
  });
}

double squared_norm(const float* g, std::int64_t n, Workspace& space) {
  return over_chunks(n, space, [&](std::int64_t begin, std::int64_t count) {
    return sum_squares(g + begin, count, 1.0f);
  });
}

}  // namespace blockwise::kernels
