// Codebooks for values in [-1, 1], by exact k-means in one dimension.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace blockwise {

// Weighted points in ascending order.
struct WeightedPoints {
  std::vector<double> x, weight;
};

// Centres of the k groups of neighbours with the least sum of weight (x - centre)^2, ascending; as
// many as there are points where those are fewer. Exact: dynamic programming over the number of
// groups, where the last group of the first j points begins no earlier than that of the first j - 1
// (Wu, "Optimal quantization by matrix searching", J. Algorithms 12, 1991). Cost: k n log n.
std::vector<double> best_centres(const WeightedPoints& points, std::int64_t k);

// Writes the ascending values of a codebook for x, every block divided by its largest |x|, whose
// ends are -1 and 1 and one of whose values is 0. False, and nothing written, where all x are 0.
// Where there are fewer different x than values, 1 fills the places that are free.
bool learn_codebook(std::span<const float> x, std::int64_t block, std::span<float> values);
// Whether a codebook was learned from so few; also of one that is not learned, all 0.
bool has_free_places(std::span<const float> values);

}  // namespace blockwise
