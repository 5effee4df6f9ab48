#include "experiments/sweeps/time_to_loss.hpp"

#include <cmath>

namespace blockwise {
namespace {

Effort between(const Effort& a, const Effort& b, double share) {
  return {std::lerp(a.steps, b.steps, share), std::lerp(a.tokens, b.tokens, share),
          std::lerp(a.seconds, b.seconds, share)};
}

Effort mean_of(const std::vector<Effort>& efforts) {
  Effort mean;
  const auto n = static_cast<double>(efforts.size());
  for (const auto& effort : efforts) {
    mean.steps += effort.steps / n;
    mean.tokens += effort.tokens / n;
    mean.seconds += effort.seconds / n;
  }
  return mean;
}

// Of the logarithms. Nothing where an effort is 0: a loss that the initial parameters have already.
std::optional<PairedTest> log_test(const std::vector<Effort>& own,
                                   const std::vector<Effort>& baseline, double Effort::*what) {
  std::vector<double> a, b;
  for (std::size_t i = 0; i < own.size(); ++i) {
    a.push_back(std::log(own[i].*what));
    b.push_back(std::log(baseline[i].*what));
    if (!std::isfinite(a.back()) || !std::isfinite(b.back())) return std::nullopt;
  }
  return paired_t_test(a, b);
}

}  // namespace

LossCourse loss_course(const RunResult& run) {
  LossCourse course;
  std::size_t next = 0;
  double seconds = 0.0;
  for (const auto& evaluation : run.evaluations) {
    for (; next < run.steps.size() && run.steps[next].step <= evaluation.step; ++next) {
      seconds += run.steps[next].seconds;
    }
    course.points.push_back(
        {{static_cast<double>(evaluation.step), static_cast<double>(evaluation.tokens), seconds},
         evaluation.loss});
  }
  return course;
}

std::optional<Effort> effort_to(const LossCourse& course, double loss) {
  const LossCourse::Point* before = nullptr;
  for (const auto& point : course.points) {
    if (point.loss <= loss) {
      const bool first = before == nullptr || !std::isfinite(before->loss);
      if (first || point.loss == before->loss) return point.effort;
      return between(before->effort, point.effort,
                     (before->loss - loss) / (before->loss - point.loss));
    }
    before = &point;
  }
  return std::nullopt;
}

TimeToLoss time_to_baseline(const std::map<std::int64_t, LossCourse>& own,
                            const std::map<std::int64_t, LossCourse>& baseline) {
  TimeToLoss result;
  std::vector<Effort> mine, theirs;
  for (const auto& [seed, course] : own) {
    const auto pair = baseline.find(seed);
    if (pair == baseline.end() || pair->second.points.empty()) continue;
    ++result.pairs;
    const double target = pair->second.points.back().loss;
    const auto reached = effort_to(course, target);
    if (!reached) continue;
    mine.push_back(*reached);
    theirs.push_back(*effort_to(pair->second, target));
  }
  result.reached = mine.size();
  if (mine.empty()) return result;
  result.effort = mean_of(mine);
  if (result.reached < result.pairs) return result;
  result.log_steps = log_test(mine, theirs, &Effort::steps);
  result.log_tokens = log_test(mine, theirs, &Effort::tokens);
  result.log_seconds = log_test(mine, theirs, &Effort::seconds);
  return result;
}

}  // namespace blockwise
