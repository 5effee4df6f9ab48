#include "hessian/row_norm_interval.hpp"

#include <ATen/ATen.h>

namespace blockwise {
namespace {

constexpr double kNormalQuantile = 1.959963984540054;  // of 0.975

// Quantile of chi-squared over its degrees of freedom (Wilson and Hilferty 1931), by that of the
// normal distribution.
at::Tensor chi_squared_share(const at::Tensor& degrees, double normal) {
  const auto spread = 2.0 / (9.0 * degrees);
  return (1.0 - spread + normal * spread.sqrt()).pow(3);
}

}  // namespace

VectorInterval squared_row_norm_interval(const DiagonalAndRowNorms& found) {
  constexpr double kExact = 1e12;  // degrees of freedom at which samples are the same
  const auto m = double(found.diagonal.products);
  const auto variance = found.diagonal.standard_error.square() * m;
  const auto squared = (found.diagonal.value.square() - variance / m).clamp_min(0.0);
  const auto degrees = m * (squared + variance).square() / (variance * (variance + 2.0 * squared));
  const auto finite = at::nan_to_num(degrees, kExact, kExact, kExact).clamp(1.0, kExact);
  const auto& value = found.squared_row_norms.value;
  return {value / chi_squared_share(finite, kNormalQuantile),
          value / chi_squared_share(finite, -kNormalQuantile)};
}

}  // namespace blockwise
