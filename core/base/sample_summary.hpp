// Statistics of small samples, as a table of runs over a few seeds needs them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "core/base/statistics.hpp"

namespace blockwise {

// A sample x_1 .. x_n of independent values.
struct Summary {
  std::size_t count = 0;
  double mean = 0.0;                         // sum x_i / n
  std::optional<double> standard_deviation;  // sqrt(sum (x_i - mean)^2 / (n - 1)); none for n = 1
  // Half width of the two-sided interval for the mean, mean +- h, if the values are normal:
  // h = t_{n-1, (1 + confidence) / 2} standard_deviation / sqrt(n). None for n = 1.
  std::optional<double> half_width;
};

// Throws InvariantError for an empty sample.
Summary summarize(std::span<const double> values);

// Differences d_i = a_i - b_i of pairs that share a seed.
struct PairedTest {
  Summary difference;
  // Of the hypothesis that the mean difference is zero, two-sided, by Student's t-test of the
  // pairs: P(|T_{n-1}| >= |mean| sqrt(n) / standard_deviation). None for n = 1. Where all
  // differences are equal: 1 when they are zero, otherwise 0.
  std::optional<double> p_value;
};

// Throws InvariantError for samples that are empty or differ in size.
PairedTest paired_t_test(std::span<const double> a, std::span<const double> b);

// The middle value, or the mean of the two in the middle. Throws InvariantError for an empty
// sample.
double median(std::vector<double> values);

}  // namespace blockwise
