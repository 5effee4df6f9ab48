#include "experiments/rates/rate_trials.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace blockwise {
namespace {

using Result = PairedTrials::Result;

class GridSearch {
 public:
  GridSearch(PairedTrials& trials, const Arm& baseline, const std::vector<double>& grid,
             const ValueArm& arm)
      : trials_(trials), baseline_(baseline), arm_(arm), ratio_(grid[1] / grid[0]) {
    for (const double value : grid) points_.push_back({value, arm(value)});
  }

  GridOutcome run() {
    GridOutcome outcome;
    std::vector<Arm> arms;
    for (const auto& point : points_) arms.push_back(point.arm);
    const auto raced = race(trials_, baseline_, arms, 3);
    outcome.result = raced.result;
    if (outcome.result != Result::measured) return outcome;
    best_ = place(raced.survivors.front());
    outcome.result = settle();
    if (outcome.result != Result::measured) return outcome;
    outcome.best = points_[best_].value;
    outcome.at_end = at_end();
    outcome.value = value();
    outcome.to_baseline = trials_.difference(points_[best_].arm, baseline_);
    return outcome;
  }

 private:
  struct Point {
    double value;
    Arm arm;
  };

  std::size_t place(const Arm& arm) const {
    const auto at = std::ranges::find(points_, arm.id, [](const auto& p) { return p.arm.id; });
    return static_cast<std::size_t>(at - points_.begin());
  }

  bool at_end() const { return best_ == 0 || best_ + 1 == points_.size(); }

  void widen() {
    if (!at_end() || added_ == kMostAdded) return;
    ++added_;
    if (best_ == 0) {
      const double value = points_.front().value / ratio_;
      points_.insert(points_.begin(), {value, arm_(value)});
      ++best_;
    } else {
      const double value = points_.back().value * ratio_;
      points_.push_back({value, arm_(value)});
    }
  }

  std::size_t first() const { return best_ == 0 ? 0 : best_ - 1; }
  std::size_t last() const { return std::min(best_ + 1, points_.size() - 1); }

  // Moves to a better neighbour as long as there is one; every move lowers the mean loss of all
  // seeds, so it ends.
  Result settle() {
    for (;;) {
      widen();
      std::vector<Arm> arms = {baseline_};
      for (auto i = first(); i <= last(); ++i) arms.push_back(points_[i].arm);
      const auto result = trials_.measure(arms, trials_.limits().seeds);
      if (result != Result::measured) return result;
      auto better = best_;
      for (auto i = first(); i <= last(); ++i) {
        if (mean(i) < mean(better)) better = i;
      }
      if (better == best_) return Result::measured;
      best_ = better;
    }
  }

  double mean(std::size_t i) const { return trials_.mean_loss(points_[i].arm); }

  RateInterval value() const {
    std::vector<double> values;
    const double centre = points_[best_].value;
    if (at_end() || diverged(best_ - 1) || diverged(best_ + 1)) {
      return {centre, centre / ratio_, centre * ratio_};
    }
    const auto seeds = trials_.losses(points_[best_].arm).size();
    for (std::size_t seed = 0; seed < seeds; ++seed) values.push_back(value_of(seed));
    return log_interval(values);
  }

  bool diverged(std::size_t i) const {
    return std::ranges::count(trials_.losses(points_[i].arm), kDivergedLoss) > 0;
  }

  double value_of(std::size_t seed) const {
    const double centre = points_[best_].value;
    const auto loss = [&](std::size_t i) { return trials_.losses(points_[i].arm)[seed]; };
    return centre * std::exp(parabola_vertex(loss(best_ - 1), loss(best_), loss(best_ + 1),
                                             std::log(ratio_)));
  }

  static constexpr int kMostAdded = 6;

  PairedTrials& trials_;
  const Arm& baseline_;
  const ValueArm& arm_;
  double ratio_;
  std::vector<Point> points_;
  std::size_t best_ = 0;
  int added_ = 0;
};

void set_rate(BlockRates& rates, const RateGroup& group, double factor) {
  for (const auto& [tensor, section] : group.sections)
    rates.tensors[tensor][section].rate = {factor};
}

bool gains(const PairedTest& test) {
  return test.difference.half_width && test.difference.mean + *test.difference.half_width < 0.0;
}

}  // namespace

double parabola_vertex(double a, double b, double c, double h) {
  const double bend = a - 2.0 * b + c;
  if (!(bend > 0.0)) return a == c ? 0.0 : (a < c ? -h : h);
  return std::clamp(0.5 * h * (a - c) / bend, -h, h);
}

GridOutcome search_grid(PairedTrials& trials, const Arm& baseline, const std::vector<double>& grid,
                        const ValueArm& arm) {
  return GridSearch(trials, baseline, grid, arm).run();
}

std::vector<RateGroup> rate_groups(const ParameterLayout& layout, const Partition& partition,
                                   const std::string& by) {
  std::vector<RateGroup> groups;
  std::vector<std::int64_t> sizes;
  for (std::size_t t = 0; t < layout.blocks().size(); ++t) {
    const auto& block = layout.blocks()[t];
    const auto& sections = partition.tensors()[t].sections;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      std::string name(role_name(sections[s].role));
      if (by == "role_and_layer" && block.layer >= 0) name += fmt::format(".{}", block.layer);
      auto at = std::ranges::find(groups, name, &RateGroup::name) - groups.begin();
      if (at == std::ssize(groups)) {
        groups.push_back({name, {}});
        sizes.push_back(0);
      }
      groups[std::size_t(at)].sections.emplace_back(t, s);
      sizes[std::size_t(at)] += sections[s].size();
    }
  }
  std::vector<std::size_t> order(groups.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return sizes[i]; });
  std::vector<RateGroup> sorted;
  for (const auto i : order) sorted.push_back(std::move(groups[i]));
  return sorted;
}

CoordinateOutcome coordinate_search(const Partition& partition,
                                    const std::vector<RateGroup>& groups,
                                    const std::vector<double>& factors, std::int64_t passes,
                                    const RatesArm& arm, PairedTrials& trials) {
  CoordinateOutcome outcome;
  for (const auto& group : groups)
    outcome.groups.push_back({group, 1.0, {1.0, 1.0, 1.0}, {}, false});
  auto rates = BlockRates::ones(partition);
  bool gained = true;
  for (std::int64_t pass = 0; pass < passes && gained; ++pass) {
    gained = false;
    for (auto& g : outcome.groups) {
      const auto before = arm(rates);
      std::vector<double> grid;
      for (const double factor : factors) grid.push_back(g.factor * factor);
      const auto found = search_grid(trials, before, grid, [&](double factor) {
        auto changed = rates;
        set_rate(changed, g.group, factor);
        return arm(changed);
      });
      outcome.result = found.result;
      if (found.result != Result::measured) return outcome;
      g.best = found.value;
      g.test = found.to_baseline;
      if (!gains(found.to_baseline)) continue;
      g.factor = found.best;
      g.taken = gained = true;
      set_rate(rates, g.group, g.factor);
    }
  }
  return outcome;
}

BlockRates rates_of(const Partition& partition, const std::vector<GroupRate>& groups) {
  auto rates = BlockRates::ones(partition);
  for (const auto& g : groups) {
    for (const auto& [tensor, section] : g.group.sections) {
      rates.tensors[tensor][section] = {{g.factor}, {g.best.low}, {g.best.high}};
    }
  }
  return rates;
}

}  // namespace blockwise
