// The rate of every block at one point of training, from curvature, and what the second moment of
// the gradient implies there.
#pragma once

#include <vector>

#include "core/parallel/ranks.hpp"
#include "experiments/rates/rate_interval.hpp"
#include "experiments/rates/rate_plan.hpp"

namespace blockwise {

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

// One per target.
struct MeasuredRates {
  std::vector<MeasuredRate> rates;
  std::int64_t left_out_batches = 0;  // of mean_v, see SecondMoments
};

// What measure_rates() counts by curvature, products at most, and by mean(v); nothing where the
// method takes none.
WorkCount curvature_rates_work(const ResolvedRateSearch& search);
WorkCount moment_rates_work(const ResolvedRateSearch& search);

// What search_lr.method asks for. A stopped measurement goes on from DIR/samples.txt, the finished
// samples, and from DIR/products.bin, the products with the target that it was at
// (kept_products.hpp), and gives the same numbers. Throws Stopped, and InputError where those files
// are of another configuration.
// Several processes share the batches of products and second moments; this is rank 0, which ends
// with lead_end().
MeasuredRates measure_rates(const ResolvedRateSearch& search, WorkMeter& meter, const Ranks& ranks);

// What the other ranks do meanwhile; returns rank 0's outcome.
std::int64_t serve_rates(const ResolvedRateSearch& search, const Ranks& ranks);

// Takes those two files away.
void forget_measured_rates(const ResolvedRateSearch& search);

}  // namespace blockwise
