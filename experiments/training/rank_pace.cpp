#include "experiments/training/rank_pace.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace blockwise {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ptrdiff_t((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::string RankPace::add(const std::vector<double>& seconds) {
  last_.resize(seconds.size());
  named_.resize(seconds.size(), false);
  std::vector<double> medians;
  for (std::size_t r = 0; r < seconds.size(); ++r) {
    auto& last = last_[r];
    if (last.size() == kSteps) last.erase(last.begin());
    last.push_back(seconds[r]);
    medians.push_back(median(last));
  }
  if (last_.front().size() < kSteps) return "";
  // Of two ranks the faster one.
  const double usual = median(medians);
  for (std::size_t r = 0; r < medians.size(); ++r) {
    if (named_[r] || medians[r] < kSlow * usual) continue;
    named_[r] = true;
    return fmt::format(
        "rank {} is slow: {:.3g} s a step without waiting, {:.2g} times the others; they wait for "
        "it",
        r, medians[r], medians[r] / usual);
  }
  return "";
}

}  // namespace blockwise
