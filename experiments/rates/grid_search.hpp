// The best of one number on a grid, by paired training runs.
#pragma once

#include <functional>
#include <vector>

#include "experiments/rates/rate_interval.hpp"
#include "experiments/sweeps/paired_trials.hpp"

namespace blockwise {

// What trains with a value of what is searched.
using ValueArm = std::function<Arm(double)>;

struct GridOutcome {
  PairedTrials::Result result = PairedTrials::Result::measured;
  double best = 0.0;    // point of the grid
  bool at_end = false;  // of the grid, widened as far as it may be: the best may lie beyond
  // Where the loss is lowest: per seed the vertex of the parabola through the best point and its
  // neighbours over log value; Student's interval of the logarithms over seeds. At an end of the
  // grid, or where a neighbour diverged, the point itself, and its neighbours as the interval.
  RateInterval value;
  PairedTest to_baseline;  // the best point's loss minus the baseline's
};

// By how many points a grid may grow.
inline constexpr int kMostAddedPoints = 6;

// Successive halving over the grid (ascending, in equal ratios, above 0), then all seeds for the
// best point and its neighbours until the best one has none that is better. Where it is an end of
// the grid, that grows by the same ratio.
GridOutcome search_grid(PairedTrials& trials, const Arm& baseline, const std::vector<double>& grid,
                        const ValueArm& arm);

// The vertex of the parabola through (-h, a), (0, b), (h, c): within [-h, h]; 0 where it is flat.
double parabola_vertex(double a, double b, double c, double h);

}  // namespace blockwise
