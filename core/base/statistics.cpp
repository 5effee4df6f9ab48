#include "core/base/statistics.hpp"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

// The T with h(T) = h, see SampleMean::interval().
double unskewed(double h, double a) {
  constexpr double kSymmetric = 1e-6;  // below it rounding is all that the formula would add
  if (std::abs(a) < kSymmetric) return h;
  return 3.0 / a * (std::cbrt(1.0 + a * (h - a / 6.0)) - 1.0);
}

}  // namespace

double student_t_quantile(double degrees_of_freedom, double confidence) {
  const boost::math::students_t distribution(degrees_of_freedom);
  return boost::math::quantile(distribution, 0.5 + 0.5 * confidence);
}

double student_t_tail(double degrees_of_freedom, double t) {
  const boost::math::students_t distribution(degrees_of_freedom);
  return 2.0 * boost::math::cdf(boost::math::complement(distribution, std::abs(t)));
}

Interval SampleMean::interval(double confidence) const {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (count == 0) return {mean, mean};
  if (count == 1) return {-kInfinite, kInfinite};
  const double t = student_t_quantile(static_cast<double>(count - 1), confidence);
  const double a = skewness / std::sqrt(static_cast<double>(count));
  return {mean - standard_error * unskewed(t, a), mean - standard_error * unskewed(-t, a)};
}

namespace {

RunningMean running_mean(std::span<const double> samples) {
  check_equal(samples.empty(), false, "a sample is empty");
  RunningMean mean;
  for (const double x : samples) mean.add(x);
  return mean;
}

}  // namespace

SampleMean sample_mean(std::span<const double> samples) { return running_mean(samples).result(); }

SampleMean mean_of_squares(std::span<const double> samples) {
  return running_mean(samples).result_of_squares();
}

void RunningMean::add(double x) {
  ++count_;
  const auto n = static_cast<double>(count_);
  const double delta = x - mean_, step = delta / n;
  const double square = delta * step * (n - 1.0);
  cubes_ += square * step * (n - 2.0) - 3.0 * step * squares_;
  squares_ += square;
  mean_ += step;
}

double RunningMean::standard_error() const {
  const auto n = static_cast<double>(count_);
  return count_ < 2 ? 0.0 : std::sqrt(squares_ / (n - 1.0) / n);
}

SampleMean RunningMean::result() const { return {count_, mean_, standard_error(), 0.0}; }

SampleMean RunningMean::result_of_squares() const {
  const auto n = static_cast<double>(count_);
  const double deviation = standard_error() * std::sqrt(n);
  const double skewness = deviation > 0.0 ? cubes_ / n / std::pow(deviation, 3) : 0.0;
  return {count_, mean_, standard_error(), skewness};
}

}  // namespace blockwise
