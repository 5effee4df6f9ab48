#include "experiments/rates/rate_interval.hpp"

#include <cmath>

#include "core/base/sample_summary.hpp"

namespace blockwise {

RateInterval log_interval(const std::vector<double>& values) {
  std::vector<double> logs;
  for (const double value : values) logs.push_back(std::log(value));
  const auto summary = summarize(logs);
  const double width = summary.half_width.value_or(0.0);
  return {std::exp(summary.mean), std::exp(summary.mean - width), std::exp(summary.mean + width)};
}

double typical_rate(const std::vector<double>& rates) {
  double sum = 0.0;
  int count = 0;
  for (const double rate : rates) {
    if (!(rate > 0.0)) continue;
    sum += std::log(rate);
    ++count;
  }
  return count == 0 ? 0.0 : std::exp(sum / count);
}

}  // namespace blockwise
