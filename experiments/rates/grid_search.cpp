#include "experiments/rates/grid_search.hpp"

#include <algorithm>
#include <cmath>
#include <span>

namespace blockwise {
namespace {

constexpr std::size_t kRaceSurvivors = 3;

struct GridPoint {
  double value;
  Arm arm;
};

struct Grid {
  double ratio;
  std::vector<GridPoint> points;
  std::size_t best = 0;
  int added = 0;

  bool at_end() const { return best == 0 || best + 1 == points.size(); }
  // The best point and its neighbours: [first, first + count).
  std::size_t first() const { return best == 0 ? 0 : best - 1; }
  std::span<const GridPoint> around_best() const {
    const auto end = std::min(best + 2, points.size());
    return std::span(points).subspan(first(), end - first());
  }
};

Grid grid_of(const std::vector<double>& values, const ValueArm& arm) {
  Grid grid{values[1] / values[0], {}};
  for (const double value : values) grid.points.push_back({value, arm(value)});
  return grid;
}

std::size_t best_of_race(PairedTrials& trials, const Arm& baseline, const Grid& grid) {
  std::vector<Arm> arms;
  for (const auto& point : grid.points) arms.push_back(point.arm);
  const auto best = race(trials, baseline, arms, kRaceSurvivors).front().id;
  const auto found =
      std::ranges::find(grid.points, best, [](const GridPoint& point) { return point.arm.id; });
  return static_cast<std::size_t>(found - grid.points.begin());
}

// A point more behind the end that the best one is at.
void widen(Grid& grid, const ValueArm& arm) {
  if (!grid.at_end() || grid.added == kMostAddedPoints) return;
  ++grid.added;
  if (grid.best == 0) {
    const double value = grid.points.front().value / grid.ratio;
    grid.points.insert(grid.points.begin(), {value, arm(value)});
    ++grid.best;
  } else {
    const double value = grid.points.back().value * grid.ratio;
    grid.points.push_back({value, arm(value)});
  }
}

// Of the best point and its neighbours the one with the lowest mean loss; among equals the best
// point stays.
std::size_t lowest_around_best(const PairedTrials& trials, const Grid& grid) {
  const auto mean = [&](std::size_t i) { return trials.mean_loss(grid.points[i].arm); };
  auto lowest = grid.best;
  for (std::size_t i = grid.first(); i < grid.first() + grid.around_best().size(); ++i) {
    if (mean(i) < mean(lowest)) lowest = i;
  }
  return lowest;
}

// Moves to a better neighbour as long as there is one; every move lowers the mean loss of all
// seeds, so it ends.
void settle(Grid& grid, PairedTrials& trials, const Arm& baseline, const ValueArm& arm) {
  for (;;) {
    widen(grid, arm);
    std::vector<Arm> arms = {baseline};
    for (const auto& point : grid.around_best()) arms.push_back(point.arm);
    trials.require(arms, trials.limits().seeds);
    const auto lowest = lowest_around_best(trials, grid);
    if (lowest == grid.best) return;
    grid.best = lowest;
  }
}

bool diverged(const PairedTrials& trials, const GridPoint& point) {
  return std::ranges::count(trials.losses(point.arm), kDivergedLoss) > 0;
}

RateInterval lowest_loss_at(const PairedTrials& trials, const Grid& grid) {
  const auto& best = grid.points[grid.best];
  const RateInterval neighbours{best.value, best.value / grid.ratio, best.value * grid.ratio};
  if (grid.at_end()) return neighbours;
  const auto& below = grid.points[grid.best - 1];
  const auto& above = grid.points[grid.best + 1];
  if (diverged(trials, below) || diverged(trials, above)) return neighbours;
  const double step = std::log(grid.ratio);
  std::vector<double> vertices;
  for (std::size_t seed = 0; seed < trials.losses(best.arm).size(); ++seed) {
    const auto loss = [&](const GridPoint& point) { return trials.losses(point.arm)[seed]; };
    const double vertex = parabola_vertex(loss(below), loss(best), loss(above), step);
    vertices.push_back(best.value * std::exp(vertex));
  }
  return log_interval(vertices);
}

}  // namespace

double parabola_vertex(double a, double b, double c, double h) {
  const double bend = a - 2.0 * b + c;
  if (!(bend > 0.0)) return a == c ? 0.0 : (a < c ? -h : h);
  return std::clamp(0.5 * h * (a - c) / bend, -h, h);
}

GridOutcome search_grid(PairedTrials& trials, const Arm& baseline,
                        const std::vector<double>& values, const ValueArm& arm) {
  GridOutcome outcome;
  try {
    auto grid = grid_of(values, arm);
    grid.best = best_of_race(trials, baseline, grid);
    settle(grid, trials, baseline, arm);
    const auto& best = grid.points[grid.best];
    outcome.best = best.value;
    outcome.at_end = grid.at_end();
    outcome.value = lowest_loss_at(trials, grid);
    outcome.to_baseline = trials.difference(best.arm, baseline);
  } catch (const TrialsEnded& end) {
    outcome.result = end.result;
  }
  return outcome;
}

}  // namespace blockwise
