// A rate and what it is known to: intervals of logarithms, as ratios are what rates differ by.
#pragma once

#include <vector>

namespace blockwise {

// Geometric: a value and its 95 % interval.
struct RateInterval {
  double value = 0.0;
  double low = 0.0, high = 0.0;
};

// Geometric mean and its 95 % interval, Student's of the logarithms; of one value no width.
RateInterval log_interval(const std::vector<double>& values);

// Geometric mean of those above 0; 0 where none is.
double typical_rate(const std::vector<double>& rates);

}  // namespace blockwise
