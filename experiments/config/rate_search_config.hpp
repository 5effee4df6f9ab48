// The YAML section `search_lr`: how the best learning rate of every block is looked for.
#pragma once

#include <string>
#include <vector>

#include "core/base/fields.hpp"
#include "hessian/evidence/best_rate.hpp"

namespace blockwise {

struct RateSearchConfig {
  std::string method = "curvature";
  // curvature and mean_v
  std::string per = "section";
  std::int64_t samples = 3;
  std::int64_t products = 60;
  double error = 0.02;
  double damping = 0.0;
  std::int64_t gradient_batches = 16;
  // coordinate and leave_out
  std::string groups = "role";
  double lowest = 0.25;
  double highest = 4.0;
  std::int64_t points = 5;
  std::int64_t passes = 1;
  std::vector<std::int64_t> left_out = {1, 2, 3};
  std::int64_t trial_steps = 0;
  std::int64_t trial_seeds = 3;
  std::int64_t max_trials = 200;
  std::int64_t seed = 0;

  void visit(FieldVisitor& v);
  bool by_trials() const { return method == "coordinate" || method == "leave_out"; }
  bool needs_products() const { return method == "curvature" || method == "leave_out"; }
  bool needs_gradients() const { return method != "coordinate"; }
  CurvatureEndsOptions ends_options() const;
  // lowest .. highest in equal ratios.
  std::vector<double> factors() const;
};

}  // namespace blockwise
