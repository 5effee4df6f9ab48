// A learning rate for every element of a section, as runs of a row-major matrix need them: a factor
// of the step's rate. Nothing is stored per element; a kernel has a run of them written where the
// cache holds it.
#pragma once

#include <cstdint>

namespace blockwise::kernels {

struct RateMap {
  const double* values = nullptr;        // one per tile, row-major over tiles, or one per label
  const std::int32_t* labels = nullptr;  // one per element; null for tiles
  std::int64_t columns = 1;              // of the matrix
  std::int64_t tile_rows = 1;
  std::int64_t tile_columns = 1;

  // rates[i] of element begin + i, for i in [0, count).
  void fill(std::int64_t begin, std::int64_t count, float* rates) const;
};

// Elements whose rates a kernel holds at once, on its stack.
inline constexpr std::int64_t kRateRun = 1024;

// Adds what run(offset, count, rates) returns over [0, count) of the elements from `begin` on: once
// for all of them with rates = nullptr where there is no map, which is a rate of 1 everywhere.
template <typename Run>
double over_rates(const RateMap* map, std::int64_t begin, std::int64_t count, const Run& run) {
  if (map == nullptr) return run(std::int64_t{0}, count, nullptr);
  float rates[kRateRun];
  double sum = 0.0;
  for (std::int64_t at = 0; at < count; at += kRateRun) {
    const auto size = count - at < kRateRun ? count - at : kRateRun;
    map->fill(begin + at, size, rates);
    sum += run(at, size, static_cast<const float*>(rates));
  }
  return sum;
}

}  // namespace blockwise::kernels
