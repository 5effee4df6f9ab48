// The rate of every block at one point of training, from curvature, and what the second moment of
// the gradient implies there.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/dataset.hpp"
#include "core/partition/block_rates.hpp"
#include "experiments/config/run_config.hpp"
#include "experiments/curvature/moment_batches.hpp"
#include "experiments/rates/rate_interval.hpp"

namespace blockwise {

// What gets one rate: a section of a tensor, or one block of it.
struct RateTarget {
  std::size_t tensor = 0;   // of the layout
  std::size_t section = 0;  // of the tensor's partition
  std::int64_t block = -1;  // of the section; -1: all of it
  at::Tensor index;         // int64: its elements in the tensor
};

// In the layout's order. per: section or block, as search_lr.per.
std::vector<RateTarget> rate_targets(const Partition& partition, const std::string& per);

const PartitionSection& section_of(const Partition& partition, const RateTarget& target);

struct MeasuredRate {
  // Of the samples: geometric mean, Student's interval of the logarithm, widened by what Lanczos
  // may be off. 0: not measured, or no curvature.
  RateInterval curvature;
  double largest = 0.0, smallest = 0.0;  // eigenvalues, means of the samples
  // Largest residual of `smallest`, and whether all are within search_lr.error of `largest`: where
  // not, the smallest eigenvalue is only known to be at most that.
  double smallest_error = 0.0;
  bool smallest_converged = false;
  std::int64_t products = 0;
  // learning_rate / sqrt(mean of E g^2 over the block), g the gradient of `moment_batches`.
  RateInterval mean_v;
};

// One per target. A stopped measurement (finished = false) goes on from `progress`, a file of
// finished samples of `hash`, and from `products`, the file of the products with the target that it
// was at (kept_products.hpp), and gives the same numbers. `observe` gets what is done.
struct MeasuredRates {
  bool finished = false;
  std::vector<MeasuredRate> rates;
  std::int64_t left_out_batches = 0;  // of mean_v, see SecondMoments
};
struct RateMeasurement {
  const RunConfig& config;
  const ParameterLayout& layout;
  const Dataset& data;
  std::string progress, products, hash;
  MomentBatches moment_batches;
};
MeasuredRates measure_rates(const RateMeasurement& what, const std::vector<RateTarget>& targets,
                            const std::function<void(const std::string&)>& observe);

}  // namespace blockwise
