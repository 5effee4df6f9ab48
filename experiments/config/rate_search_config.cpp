#include "experiments/config/rate_search_config.hpp"

#include <cmath>

namespace blockwise {
void RateSearchConfig::visit(FieldVisitor& v) {
  v.choice({"method",
            "curvature: 2 / (lambda_max + lambda_min) of every block; mean_v: what Adam-mini's "
            "second moment implies; coordinate: paired training runs, one group's factor at a "
            "time; leave_out: some sections get one searched rate, all else AdamW"},
           method, {"curvature", "mean_v", "coordinate", "leave_out"});
  v.choice(
      {"per",
       "curvature, mean_v: one rate per section of the partition, or per block of it; sections "
       "with one value per element have one rate"},
      per, {"section", "block"});
  v.integer({"samples", "curvature: disjoint sets of hessian.batches; intervals are their spread"},
            samples, {1, 1000});
  v.integer({"products", "curvature: with the Hessian per block and sample, at most"}, products,
            {2, kLargeCount});
  v.real({"error", "curvature: bound on a rate's relative error that ends it earlier"}, error,
         {0.0, 1.0});
  v.real({"damping",
          "curvature: added to both eigenvalues, as a share of the largest one of all blocks"},
         damping, {0.0, 1e3});
  v.integer({"gradient_batches",
             "of trainer.global_batch_tokens, whose squared mean gradients make the second moment"},
            gradient_batches, {4, kLargeCount});
  v.choice({"groups", "coordinate: what shares a factor"}, groups, {"role", "role_and_layer"});
  v.real({"lowest", "coordinate, leave_out: smallest factor of the grid"}, lowest,
         {0.0, 1.0, true, false});
  v.real({"highest", "its largest"}, highest, {1.0, 1e6});
  v.integer({"points", "of the grid, in equal ratios"}, points, {3, 99});
  v.integer({"passes", "coordinate: over all groups, at most"}, passes, {1, 100});
  v.integer_list({"left_out", "leave_out: numbers of sections that are picked at random"}, left_out,
                 {1, 1000});
  v.integer({"trial_steps", "steps of a training run; 0: trainer.steps"}, trial_steps,
            {0, kLargeCount});
  v.integer({"trial_seeds", "pairs per change, at most"}, trial_seeds, {2, 1000});
  v.integer({"max_trials", "training runs in all, at most"}, max_trials, {1, kLargeCount});
  v.integer({"seed", "of starts and picks"}, seed, {0, std::numeric_limits<std::int64_t>::max()});
  v.check("points", lowest < 1.0 && highest > 1.0 && points % 2 == 0
                        ? "an odd number of points, so that 1 may be one of them"
                        : "");
}

CurvatureEndsOptions RateSearchConfig::ends_options() const {
  return {error, products, static_cast<std::uint64_t>(seed)};
}

std::vector<double> RateSearchConfig::factors() const {
  std::vector<double> values;
  const double ratio = std::log(highest / lowest) / double(points - 1);
  for (std::int64_t i = 0; i < points; ++i) values.push_back(lowest * std::exp(ratio * double(i)));
  return values;
}

}  // namespace blockwise
