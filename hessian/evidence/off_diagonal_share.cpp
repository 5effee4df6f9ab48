#include "hessian/evidence/off_diagonal_share.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace blockwise {
namespace {

// Of means over the samples.
double covariance_of_means(const at::Tensor& a, const at::Tensor& b) {
  const double n = double(a.numel());
  return ((a - a.mean()) * (b - b.mean())).sum().item<double>() / (n * (n - 1.0));
}

}  // namespace

OffDiagonalShare off_diagonal_share(const EnergySamples& samples) {
  const auto& [inside, whole, diagonal, diagonal_error] = samples;
  const double y = whole.mean().item<double>() - diagonal;
  if (!(y > 0.0) || !whole.gt(0.0).all().item<bool>()) return {};
  const double quotient = (inside.mean().item<double>() - diagonal) / y;
  const auto deviations = inside - quotient * whole;
  // The diagonal moves X - quotient Y by -(1 - quotient) and Y by -1.
  const double of_diagonal = diagonal_error * diagonal_error, left = 1.0 - quotient;
  const double shift = covariance_of_means(deviations, whole) + left * of_diagonal;
  const double variance = covariance_of_means(deviations, deviations) + left * left * of_diagonal;
  return {quotient + shift / (y * y), std::sqrt(variance) / y};
}

}  // namespace blockwise
