// Student's t, and intervals for the mean of a few samples.
#pragma once

#include <cstdint>
#include <span>

namespace blockwise {

inline constexpr double kConfidence = 0.95;

// t with P(|T| <= t) = confidence for Student's T of so many degrees of freedom, above 0.
double student_t_quantile(double degrees_of_freedom, double confidence = kConfidence);
// P(|T| >= |t|).
double student_t_tail(double degrees_of_freedom, double t);

struct Interval {
  double low = 0.0, high = 0.0;
};

// A mean of `count` independent samples. Without a sample the mean is exact.
struct SampleMean {
  std::int64_t count = 0;
  double mean = 0.0;
  double standard_error = 0.0;  // sqrt(sum (x - mean)^2 / (n - 1) / n); 0 for one sample
  double skewness = 0.0;        // that the interval is corrected for

  // Covers the expectation with this probability: mean +- t error, Student's t with count - 1
  // degrees of freedom; infinite for one sample. With a skewness g (Hall 1992, J. R. Statist. Soc.
  // B 54, 221), a = g / sqrt(n) and the studentised mean T,
  //   h(T) = T + a (T^2 / 3 + 1 / 6) + a^2 T^3 / 27 = ((1 + a T / 3)^3 - 1) / a + a / 6
  // is distributed as Student's up to 1 / n; h is inverted at both quantiles.
  Interval interval(double confidence = kConfidence) const;
};

// Throw InvariantError for no sample. The skewness of squares, mean of ((x - mean) / deviation)^3,
// is what makes their intervals honest; that of other samples is mostly noise, and correcting for
// it would shorten the intervals of long-tailed ones.
SampleMean sample_mean(std::span<const double> samples);
SampleMean mean_of_squares(std::span<const double> samples);

// Sample by sample (Welford 1962; the third moment by Pebay 2008).
class RunningMean {
 public:
  void add(double x);
  std::int64_t count() const { return count_; }
  double mean() const { return mean_; }
  double standard_error() const;
  SampleMean result() const;
  SampleMean result_of_squares() const;  // see mean_of_squares()

 private:
  std::int64_t count_ = 0;
  double mean_ = 0.0, squares_ = 0.0, cubes_ = 0.0;  // sums of powers of x - mean
};

}  // namespace blockwise
