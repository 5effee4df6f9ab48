#include "optimizers/kernels/adam.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "optimizers/kernels/parallel_loop.hpp"

namespace blockwise::kernels {
namespace {

// Elements per task. Small enough that a task's working set stays in the second-level cache.
constexpr std::int64_t kChunk = 1 << 14;
// A band of tiles above this is reduced in one sweep and updated in a second one, and so are bands
// so few that threads would be idle with one of them each.
constexpr std::int64_t kBandInCache = 1 << 18;
constexpr std::int64_t kFewBands = 8;
// Elements that stay in the first-level cache from one read to the next.
constexpr std::int64_t kFirstLevel = 1 << 12;
// Partial sums per band: bounds the scratch of wide tensors, and is work enough for many threads.
constexpr std::int64_t kChunksPerBand = 64;

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Calls task(i) for i in [0, count) on all threads and adds what they return in the order of i.
template <typename Task>
double parallel_sum(std::int64_t count, std::int64_t elements, Workspace& space, const Task& task) {
  space.partials.assign(static_cast<std::size_t>(count), 0.0);
  double* partials = space.partials.data();
  parallel_loop(count, elements > kSerialElements, [&](std::int64_t i) { partials[i] = task(i); });
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
  std::int64_t elements() const { return rows * columns; }
  std::int64_t tiles() const { return bands * across; }
  std::int64_t chunks() const { return bands * chunks_per_band; }
  // Whether one task makes all of a band's step.
  bool fits_cache() const {
    return tile_rows * columns <= kBandInCache &&
           (bands >= kFewBands || elements() <= kSerialElements);
  }
  std::int64_t bands_per_task() const {
    return std::max<std::int64_t>(1, kChunk / (tile_rows * columns));
  }
  std::int64_t band_tasks() const { return ceil_divide(bands, bands_per_task()); }
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

// One per column, added to sums.total. Some rows at a time are read in their order, by
// read(row, rows), which returns the sum of all, and then, from the cache, strip by strip. Returns
// the sum.
template <typename Read>
double add_column_squares(const MatrixView& x, Range rows, const ColumnSums& sums,
                          const Read& read) {
  const std::int64_t some = std::max<std::int64_t>(1, kFirstLevel / x.columns);
  std::fill_n(sums.rows, x.columns, 0.0f);
  double total = 0.0;
  for (std::int64_t i = rows.begin; i < rows.end(); i += some) {
    const auto count = std::min(some, rows.end() - i);
    total += read(i, count);
    add_squares(x.g + i * x.columns, count, x.columns, sums.rows);
  }
  for (std::int64_t j = 0; j < x.columns; ++j) {
    sums.total[j] += static_cast<double>(sums.rows[j]);
  }
  return total;
}

// One band of tiles: sums of squares, second moments and their roots, one of each per tile.
struct Band {
  std::int64_t number;
  const double* sums;
  float* v;
  float* roots;
};

// Sums of squares of some rows, one per tile along the columns, added to sums.total. Returns the
// sum of all.
double reduce_rows(const MatrixView& x, const TileGrid& grid, Range rows, const ColumnSums& sums) {
  const float* g = x.g + rows.begin * x.columns;
  if (grid.across == 1) {
    const double sum = sum_squares(g, rows.count * x.columns);
    sums.total[0] += sum;
    return sum;
  }
  if (grid.tile_columns == 1) {
    return add_column_squares(x, rows, sums, [&](std::int64_t i, std::int64_t count) {
      return sum_squares(x.g + i * x.columns, count * x.columns);
    });
  }
  double total = 0.0;
  for (std::int64_t i = 0; i < rows.count; ++i) {
    for (std::int64_t t = 0; t < grid.across; ++t) {
      const double sum = sum_squares(g + i * x.columns + t * grid.tile_columns, grid.tile_width(t));
      sums.total[t] += sum;
      total += sum;
    }
  }
  return total;
}

// The same for a whole band, from zero.
double reduce_band(const MatrixView& x, const TileGrid& grid, Range rows, const ColumnSums& sums) {
  std::fill_n(sums.total, grid.across, 0.0);
  double total = 0.0;
  for (std::int64_t i = 0; i < rows.count; i += grid.chunk_rows) {
    total +=
        reduce_rows(x, grid, {rows.begin + i, std::min(grid.chunk_rows, rows.count - i)}, sums);
  }
  return total;
}

// The mean of `count` elements' g'^2.
float mean_square(double sum, std::int64_t count, const AdamStep& step) {
  const auto scale = static_cast<double>(step.gradient_scale);
  return static_cast<float>(sum * (scale * scale) / static_cast<double>(count));
}

// v and its roots from the sums of squares.
void update_band_moments(const TileGrid& grid, const Band& band, const AdamStep& step) {
  const auto rows = grid.band_rows(band.number).count;
  for (std::int64_t t = 0; t < grid.across; ++t) {
    band.roots[t] = mean_square(band.sums[t], rows * grid.tile_width(t), step);
  }
  second_moments(band.v, band.roots, grid.across, step);
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
  if (grid.across == 1) {
    return uniform_run(x, {rows.begin * x.columns, rows.count * x.columns},
                       denominator(band.v[0], step.inverse_root_bias, step), step);
  }
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

// Adds band(task, number) over all bands; several narrow ones share a task.
template <typename PerBand>
double over_bands(const TileGrid& grid, Workspace& space, const PerBand& band) {
  return parallel_sum(grid.band_tasks(), grid.elements(), space, [&](std::int64_t task) {
    const auto first = task * grid.bands_per_task();
    double sum = 0.0;
    for (auto number = first; number < std::min(grid.bands, first + grid.bands_per_task());
         ++number) {
      sum += band(task, number);
    }
    return sum;
  });
}

// Bands that fit the cache: reduce, update the moments and step, band by band, so that the second
// read of g costs no memory traffic.
double tiles_in_cache(const MatrixView& x, float* v, const TileGrid& grid, const AdamStep& step,
                      Workspace& space) {
  const auto slots = static_cast<std::size_t>(grid.band_tasks() * grid.across);
  space.tile_sums.resize(slots);
  space.roots.resize(2 * slots);
  return over_bands(grid, space, [&](std::int64_t task, std::int64_t number) {
    const auto rows = grid.band_rows(number);
    float* roots = space.roots.data() + 2 * task * grid.across;
    double* own = space.tile_sums.data() + task * grid.across;
    const bool known = x.squares != nullptr;
    if (!known) reduce_band(x, grid, rows, {own, roots + grid.across});
    const auto value = number * grid.across;
    const Band band{number, known ? x.squares + value : own, v + value, roots};
    update_band_moments(grid, band, step);
    return update_rows(x, grid, rows, band, step);
  });
}

// Partial sums, `across` for each chunk, by reduce(chunk, sums), which returns the sum that this
// does over all chunks.
template <typename Reduce>
double reduce_chunks(const TileGrid& grid, Workspace& space, const Reduce& reduce) {
  const auto slots = static_cast<std::size_t>(grid.chunks() * grid.across);
  space.tile_sums.resize(slots);
  space.roots.resize(slots);
  return parallel_sum(grid.chunks(), grid.elements(), space, [&](std::int64_t chunk) {
    const auto slot = chunk * grid.across;
    const ColumnSums sums{space.tile_sums.data() + slot, space.roots.data() + slot};
    std::fill_n(sums.total, grid.across, 0.0);
    return reduce(grid.chunk(chunk), sums);
  });
}

// Adds the partial sums of each band's chunks in their order, `across` of them, to `sums`.
void sum_over_chunks(const TileGrid& grid, const Workspace& space, double* sums) {
  std::fill_n(sums, grid.tiles(), 0.0);
  const double* partial = space.tile_sums.data();
  for (std::int64_t c = 0; c < grid.chunks(); ++c, partial += grid.across) {
    double* band = sums + c / grid.chunks_per_band * grid.across;
    for (std::int64_t t = 0; t < grid.across; ++t) band[t] += partial[t];
  }
}

// The moments of all bands, then the step by chunks. squares: of the tiles.
double tiles_by_chunks(const MatrixView& x, float* v, const TileGrid& grid, const AdamStep& step,
                       const double* squares, Workspace& space) {
  space.roots.resize(static_cast<std::size_t>(grid.tiles()));
  const auto band_of = [&](std::int64_t number) {
    const auto slot = number * grid.across;
    return Band{number, squares + slot, v + slot, space.roots.data() + slot};
  };
  for (std::int64_t number = 0; number < grid.bands; ++number) {
    update_band_moments(grid, band_of(number), step);
  }
  return parallel_sum(grid.chunks(), grid.elements(), space, [&](std::int64_t chunk) {
    return update_rows(x, grid, grid.chunk(chunk), band_of(chunk / grid.chunks_per_band), step);
  });
}

// One chunk of a factored section: the rows' sums are complete here, the columns' are partial.
// Returns the sum of the rows'.
double reduce_factors(const MatrixView& x, Range rows, double* row_sums, const ColumnSums& sums) {
  return add_column_squares(x, rows, sums, [&](std::int64_t first, std::int64_t count) {
    double total = 0.0;
    for (auto i = first; i < first + count; ++i) {
      row_sums[i] = sum_squares(x.g + i * x.columns, x.columns);
      total += row_sums[i];
    }
    return total;
  });
}

// c (the band's v), its roots and the mean of r of one group. v_ij = r_i c_j / mean(r), so the root
// of the whole is sqrt(r_i) times sqrt(c_j / mean(r)); an all-zero group has v = 0, not 0 / 0.
void finish_group(const TileGrid& grid, const Band& band, const float* r, const AdamStep& step) {
  const auto rows = grid.band_rows(band.number);
  const double mean_r = std::accumulate(r + rows.begin, r + rows.end(), 0.0) / double(rows.count);
  update_band_moments(grid, band, step);
  for (std::int64_t j = 0; j < grid.columns; ++j) {
    band.roots[j] = mean_r > 0.0 ? static_cast<float>(std::sqrt(band.v[j] / mean_r)) : 0.0f;
  }
}

// r_i from the sums of the rows.
void update_row_moments(const TileGrid& grid, const double* squares, float* r,
                        const AdamStep& step) {
  parallel_loop(grid.chunks(), grid.elements() > kSerialElements, [&](std::int64_t chunk) {
    const auto rows = grid.chunk(chunk);
    for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
      r[i] = second_moment(r[i], mean_square(squares[i], grid.columns, step), step);
    }
  });
}

// Those that are given, or, of `count` values, what reduce(sums) writes.
template <typename Reduce>
const double* squares_of(const MatrixView& x, std::int64_t count, Workspace& space,
                         const Reduce& reduce) {
  if (x.squares != nullptr) return x.squares;
  space.squares.resize(static_cast<std::size_t>(count));
  reduce(space.squares.data());
  return space.squares.data();
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

double lion_step(const MatrixView& x, const AdamStep& step, Workspace& space) {
  return over_chunks(x.rows * x.columns, space, [&](std::int64_t begin, std::int64_t count) {
    return over_rates(x.rates, begin, count, [&](auto offset, auto size, const float* rates) {
      return lion(x.run(begin + offset, size, rates), step);
    });
  });
}

double tile_squares(const MatrixView& x, const TileShape& tile, double* sums, Workspace& space) {
  const TileGrid grid(x, tile);
  if (!grid.fits_cache()) {
    const double total = reduce_chunks(grid, space, [&](Range rows, const ColumnSums& partial) {
      return reduce_rows(x, grid, rows, partial);
    });
    sum_over_chunks(grid, space, sums);
    return total;
  }
  space.roots.resize(static_cast<std::size_t>(grid.band_tasks() * grid.across));
  return over_bands(grid, space, [&](std::int64_t task, std::int64_t number) {
    return reduce_band(x, grid, grid.band_rows(number),
                       {sums + number * grid.across, space.roots.data() + task * grid.across});
  });
}

double adam_tiles(const MatrixView& x, float* v, const TileShape& tile, const AdamStep& step,
                  Workspace& space) {
  const TileGrid grid(x, tile);
  if (grid.tiles() == grid.elements()) return adam_per_element(x, v, step, space);
  if (grid.fits_cache()) return tiles_in_cache(x, v, grid, step, space);
  const auto* squares =
      squares_of(x, grid.tiles(), space, [&](double* sums) { tile_squares(x, tile, sums, space); });
  return tiles_by_chunks(x, v, grid, step, squares, space);
}

double factor_squares(const MatrixView& x, std::int64_t group_rows, double* sums,
                      Workspace& space) {
  const TileGrid grid(x, {group_rows, 1});
  const double total = reduce_chunks(grid, space, [&](Range rows, const ColumnSums& partial) {
    return reduce_factors(x, rows, sums, partial);
  });
  sum_over_chunks(grid, space, sums + x.rows);
  return total;
}

double adam_factored(const MatrixView& x, float* v, std::int64_t group_rows, const AdamStep& step,
                     Workspace& space) {
  const TileGrid grid(x, {group_rows, 1});
  const auto* squares = squares_of(x, x.rows + grid.tiles(), space, [&](double* sums) {
    factor_squares(x, group_rows, sums, space);
  });
  float* r = v;
  update_row_moments(grid, squares, r, step);
  space.roots.resize(static_cast<std::size_t>(grid.tiles()));
  for (std::int64_t group = 0; group < grid.bands; ++group) {
    const auto slot = group * x.columns;
    finish_group(grid,
                 {group, squares + x.rows + slot, v + x.rows + slot, space.roots.data() + slot}, r,
                 step);
  }
  return parallel_sum(grid.chunks(), grid.elements(), space, [&](std::int64_t chunk) {
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
    return sum_squares(g + begin, count);
  });
}

void side_by_side(std::int64_t count, const std::function<void(std::int64_t, Workspace&)>& task) {
  parallel_loop(count, count > 1, [&](std::int64_t i) {
    static thread_local Workspace space;
    task(i, space);
  });
}

}  // namespace blockwise::kernels
