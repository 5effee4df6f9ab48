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

// Numbers from begin on: rows, or elements.
struct Range {
  std::int64_t begin, count;
  std::int64_t end() const { return begin + count; }
};

// The tiles of a matrix as the loops need them.
struct TileGrid {
  std::int64_t rows, columns;
  std::int64_t tile_rows, tile_columns;
  std::int64_t bands, across;  // tiles down and along
  std::int64_t chunk_rows;     // rows that one task reduces; a chunk never crosses a band
  std::int64_t chunks_per_band;

  TileGrid(const MatrixView& x, const TileShape& tile)
      : rows(x.rows),
        columns(x.columns),
        tile_rows(std::min(tile.rows, x.rows)),
        tile_columns(std::min(tile.columns, x.columns)),
        bands(ceil_divide(rows, tile_rows)),
        across(ceil_divide(columns, tile_columns)),
        chunk_rows(rows_per_chunk(tile_rows, columns)),
        chunks_per_band(ceil_divide(tile_rows, chunk_rows)) {}

  Range band_rows(std::int64_t band) const {
    const auto begin = band * tile_rows;
    return {begin, std::min(tile_rows, rows - begin)};
  }
  std::int64_t chunks() const { return bands * chunks_per_band; }
  // None where the last band is shorter.
  Range chunk(std::int64_t index) const {
    const auto band = band_rows(index / chunks_per_band);
    const std::int64_t first = (index % chunks_per_band) * chunk_rows;
    return {band.begin + first,
            std::max<std::int64_t>(0, std::min(chunk_rows, band.count - first))};
  }
  std::int64_t tile_width(std::int64_t tile) const {
    return std::min(tile_columns, columns - tile * tile_columns);
  }
};

// Sums of squares along the columns: in double, and in float of the rows since the last fold.
struct ColumnSums {
  double* total;
  float* rows;
};

// One band of tiles: sums of squares, second moments and their roots, one of each per tile.
struct Band {
  std::int64_t number;
  const double* sums;
  float* v;
  float* roots;
};

// Sums of squares of some rows, one per tile along the columns, added to sums.total.
void reduce_rows(const MatrixView& x, const TileGrid& grid, Range rows, const ColumnSums& sums,
                 float scale) {
  if (grid.tile_columns == 1) {
    std::fill_n(sums.rows, grid.columns, 0.0f);
    for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
      add_squares(x.g + i * x.columns, x.columns, scale, sums.rows);
    }
    for (std::int64_t j = 0; j < grid.columns; ++j) {
      sums.total[j] += static_cast<double>(sums.rows[j]);
    }
    return;
  }
  for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
    const float* row = x.g + i * x.columns;
    for (std::int64_t t = 0; t < grid.across; ++t) {
      sums.total[t] += sum_squares(row + t * grid.tile_columns, grid.tile_width(t), scale);
    }
  }
}

// v and its roots from the sums of squares.
void update_band_moments(const TileGrid& grid, const Band& band, const AdamStep& step) {
  const auto rows = grid.band_rows(band.number).count;
  for (std::int64_t t = 0; t < grid.across; ++t) {
    const auto count = static_cast<double>(rows * grid.tile_width(t));
    band.v[t] = second_moment(band.v[t], static_cast<float>(band.sums[t] / count), step);
    band.roots[t] = std::sqrt(band.v[t]);
  }
}

// Some elements of the matrix with one denominator.
double uniform_run(const MatrixView& x, Range elements, float denominator, const AdamStep& step) {
  const auto [begin, count] = elements;
  return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
    return adam_uniform(x.run(elements.begin + offset, size, rates), denominator, step);
  });
}

// The same with a root of the second moment per element.
double columns_run(const MatrixView& x, Range elements, const float* roots, float root_scale,
                   const AdamStep& step) {
  const auto [begin, count] = elements;
  return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
    return adam_columns(x.run(elements.begin + offset, size, rates), roots + offset, root_scale,
                        step);
  });
}

double update_rows(const MatrixView& x, const TileGrid& grid, Range rows, const Band& band,
                   const AdamStep& step) {
  double moved = 0.0;
  for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
    const std::int64_t at = i * x.columns;
    if (grid.tile_columns == 1) {
      moved += columns_run(x, {at, x.columns}, band.roots, step.inverse_root_bias, step);
      continue;
    }
    for (std::int64_t t = 0; t < grid.across; ++t) {
      moved += uniform_run(x, {at + t * grid.tile_columns, grid.tile_width(t)},
                           denominator(band.v[t], step.inverse_root_bias, step), step);
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
    for (std::int64_t number = task * per_task;
         number < std::min(grid.bands, (task + 1) * per_task); ++number) {
      const auto rows = grid.band_rows(number);
      std::fill_n(sums, grid.across, 0.0);
      for (std::int64_t i = 0; i < rows.count; i += grid.chunk_rows) {
        reduce_rows(x, grid, {rows.begin + i, std::min(grid.chunk_rows, rows.count - i)},
                    {sums, roots + grid.across}, step.gradient_scale);
      }
      const Band band{number, sums, v + number * grid.across, roots};
      update_band_moments(grid, band, step);
      moved += update_rows(x, grid, rows, band, step);
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
    const auto slot = chunk * grid.across;
    reduce_rows(x, grid, grid.chunk(chunk),
                {space.tile_sums.data() + slot, space.roots.data() + slot}, step.gradient_scale);
    return 0.0;
  });
  const auto band_of = [&](std::int64_t number, const double* sums) {
    const auto slot = number * grid.across;
    return Band{number, sums, v + slot, space.roots.data() + slot};
  };
  for (std::int64_t number = 0; number < grid.bands; ++number) {
    update_band_moments(grid, band_of(number, sum_over_chunks(grid, number, space)), step);
  }
  return parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto band = band_of(chunk / grid.chunks_per_band, nullptr);
    return update_rows(x, grid, grid.chunk(chunk), band, step);
  });
}

// One chunk of a factored section: the rows' factors r are complete here, the columns' sums are
// partial.
void reduce_factors(const MatrixView& x, Range rows, float* r, const ColumnSums& sums,
                    const AdamStep& step) {
  std::fill_n(sums.rows, x.columns, 0.0f);
  for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
    const float* row = x.g + i * x.columns;
    const double mean =
        sum_squares(row, x.columns, step.gradient_scale) / static_cast<double>(x.columns);
    r[i] = second_moment(r[i], static_cast<float>(mean), step);
    add_squares(row, x.columns, step.gradient_scale, sums.rows);
  }
  for (std::int64_t j = 0; j < x.columns; ++j) sums.total[j] = sums.rows[j];
}

// c (the band's v), its roots and the mean of r of one group. v_ij = r_i c_j / mean(r), so the root
// of the whole is sqrt(r_i) times sqrt(c_j / mean(r)); an all-zero group has v = 0, not 0 / 0.
void finish_group(const TileGrid& grid, const Band& band, const float* r, const AdamStep& step) {
  const auto rows = grid.band_rows(band.number);
  const double mean_r = std::accumulate(r + rows.begin, r + rows.end(), 0.0) / double(rows.count);
  for (std::int64_t j = 0; j < grid.columns; ++j) {
    float& value = band.v[j];
    value = second_moment(value, static_cast<float>(band.sums[j] / double(rows.count)), step);
    band.roots[j] = mean_r > 0.0 ? static_cast<float>(std::sqrt(value / mean_r)) : 0.0f;
  }
}

}  // namespace

double adam_per_element(const MatrixView& x, float* v, const AdamStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      const auto i = begin + offset;
      return adam_elements(x.run(i, size, rates), v + i, step);
    });
  });
}

double momentum_step(const MatrixView& x, const AdamStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return uniform_run(x, {begin, count}, 1.0f, step);
  });
}

double adam_tiles(const MatrixView& x, float* v, const TileShape& tile, const AdamStep& step,
                  Workspace& space) {
  const TileGrid grid(x, tile);
  if (grid.tile_rows * grid.columns <= kBandInCache) {
    return tiles_in_cache(x, v, grid, step, space);
  }
  return tiles_in_two_sweeps(x, v, grid, step, space);
}

double adam_factored(const MatrixView& x, float* v, std::int64_t group_rows, const AdamStep& step,
                     Workspace& space) {
  const TileGrid grid(x, {group_rows, 1});
  float* r = v;
  float* c = v + x.rows;
  const auto slots = static_cast<std::size_t>(grid.chunks() * x.columns);
  space.tile_sums.assign(slots, 0.0);
  space.roots.resize(slots);
  parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto slot = chunk * x.columns;
    reduce_factors(x, grid.chunk(chunk), r,
                   {space.tile_sums.data() + slot, space.roots.data() + slot}, step);
    return 0.0;
  });
  for (std::int64_t group = 0; group < grid.bands; ++group) {
    const auto slot = group * x.columns;
    const double* sums = sum_over_chunks(grid, group, space);
    finish_group(grid, {group, sums, c + slot, space.roots.data() + slot}, r, step);
  }
  return parallel_sum(grid.chunks(), x.rows * x.columns, space, [&](std::int64_t chunk) {
    const auto rows = grid.chunk(chunk);
    const float* roots = space.roots.data() + chunk / grid.chunks_per_band * x.columns;
    double moved = 0.0;
    for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
      moved += columns_run(x, {i * x.columns, x.columns}, roots,
                           std::sqrt(r[i]) * step.inverse_root_bias, step);
    }
    return moved;
  });
}

double adam_labels(const MatrixView& x, float* v, const LabelView& blocks, const AdamStep& step,
                   Workspace& space) {
  const std::int64_t n = x.rows * x.columns;
  const auto [labels, count] = blocks;
  const auto values = static_cast<std::size_t>(count);
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
  return over_chunks(n, space, [&](std::int64_t begin, std::int64_t size) {
    for (std::int64_t i = begin; i < begin + size; ++i) {
      roots[i] = space.roots[static_cast<std::size_t>(blocks.labels[i])];
    }
    return columns_run(x, {begin, size}, roots + begin, step.inverse_root_bias, step);
  });
}

double sgd_momentum(const MatrixView& x, const SgdStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      return sgd(x.run(begin + offset, size, rates), step);
    });
  });
}

double gradient_descent(const MatrixView& x, const SgdStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      return descend(x.run(begin + offset, size, rates), step);
    });
  });
}

double squared_norm(const float* g, std::int64_t n, Workspace& space) {
  return over_chunks(n, space, [&](std::int64_t begin, std::int64_t count) {
    return sum_squares(g + begin, count, 1.0f);
  });
}

}  // namespace blockwise::kernels
