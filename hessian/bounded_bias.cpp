#include "hessian/bounded_bias.hpp"

#include "core/base/statistics.hpp"

namespace blockwise {

double confidence_beside_bounds(double width, double degrees_of_freedom, double confidence) {
  if (!(width > 0.0)) return confidence;
  const auto half_tail = [&](double c) { return 0.5 * student_t_tail(degrees_of_freedom, c); };
  double low = student_t_quantile(degrees_of_freedom, 2.0 * confidence - 1.0);
  double high = student_t_quantile(degrees_of_freedom, confidence);
  constexpr int kHalvings = 16;
  for (int i = 0; i < kHalvings; ++i) {
    const double c = 0.5 * (low + high);
    (1.0 - half_tail(c + width) - half_tail(c) < confidence ? low : high) = c;
  }
  return 1.0 - 2.0 * half_tail(high);
}

}  // namespace blockwise
