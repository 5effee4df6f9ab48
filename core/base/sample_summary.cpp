#include "core/base/sample_summary.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

double two_sided_p_value(const Summary& difference) {
  if (*difference.standard_deviation == 0.0) return difference.mean == 0.0 ? 1.0 : 0.0;
  const auto n = static_cast<double>(difference.count);
  const double t = difference.mean * std::sqrt(n) / *difference.standard_deviation;
  return student_t_tail(n - 1.0, t);
}

}  // namespace

Summary summarize(std::span<const double> values) {
  check_equal(values.empty(), false, "a sample is empty");
  const auto n = static_cast<double>(values.size());
  // Around the first value, so that equal values have exactly their mean and no deviation.
  const double first = values.front();
  double sum = 0.0;
  for (const double x : values) sum += x - first;
  Summary result{values.size(), first + sum / n, {}, {}};
  if (values.size() == 1) return result;
  double squares = 0.0;
  for (const double x : values) squares += (x - result.mean) * (x - result.mean);
  result.standard_deviation = std::sqrt(squares / (n - 1.0));
  result.half_width = student_t_quantile(n - 1.0) * *result.standard_deviation / std::sqrt(n);
  return result;
}

PairedTest paired_t_test(std::span<const double> a, std::span<const double> b) {
  check_equal(a.size(), b.size(), "pairs of a test");
  std::vector<double> differences(a.size());
  std::transform(a.begin(), a.end(), b.begin(), differences.begin(), std::minus<>());
  PairedTest test{summarize(differences), {}};
  if (differences.size() > 1) test.p_value = two_sided_p_value(test.difference);
  return test;
}

double median(std::vector<double> values) {
  check_equal(values.empty(), false, "a sample is empty");
  std::sort(values.begin(), values.end());
  const auto half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2.0;
}

}  // namespace blockwise
