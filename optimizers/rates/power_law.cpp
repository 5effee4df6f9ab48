#include "optimizers/rates/power_law.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace blockwise {

double power_law_exponent(const at::Tensor& matrix) {
  const auto values = at::linalg_svdvals(matrix.to(at::kFloat)).to(at::kDouble).to(at::kCPU);
  const auto logs = std::get<0>((values.square()).sort()).log_();
  const auto first = logs.numel() / 2, count = logs.numel() - first;
  const auto tail = logs.narrow(0, first, count);
  const double sum = tail.sum().item<double>() - double(count) * tail[0].item<double>();
  return 1.0 + double(count) / sum;
}

std::vector<double> factors_of_exponents(const std::vector<double>& exponents, double lowest,
                                         double highest) {
  double least = HUGE_VAL, most = -HUGE_VAL;
  for (const auto exponent : exponents) {
    if (!std::isfinite(exponent)) continue;
    least = std::min(least, exponent);
    most = std::max(most, exponent);
  }
  std::vector<double> factors;
  for (const auto exponent : exponents) {
    const bool known = std::isfinite(exponent) && most > least;
    factors.push_back(known ? lowest + (highest - lowest) * (exponent - least) / (most - least)
                            : lowest);
  }
  return factors;
}

}  // namespace blockwise
