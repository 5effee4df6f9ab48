#include "optimizers/matrices/fixed_sums.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace blockwise {
namespace {

constexpr std::int64_t kRun = 1024;
constexpr std::int64_t kSerial = 32768;  // at::internal::GRAIN_SIZE: sums up to it have one thread

// x [..., n] of float64: [...].
at::Tensor sums_of_last(at::Tensor x) {
  while (x.size(-1) > kSerial) {
    const auto whole = x.size(-1) / kRun * kRun;
    const auto runs = x.narrow(-1, 0, whole).unflatten(-1, {-1, kRun}).sum(-1);
    x = at::cat({runs, x.narrow(-1, whole, x.size(-1) - whole).sum(-1, true)}, -1);
  }
  return x.sum(-1);
}

}  // namespace

at::Tensor fixed_sum(const at::Tensor& x) {
  return sums_of_last(x.contiguous().view({-1}).to(at::kDouble));
}

at::Tensor matrix_sums(const at::Tensor& x) {
  return sums_of_last(x.contiguous().flatten(-2).to(at::kDouble));
}

at::Tensor matrix_norms(const at::Tensor& x) {
  return matrix_sums(x.to(at::kDouble).square()).sqrt_().unsqueeze(-1).unsqueeze(-1);
}

at::Tensor fixed_norm(const at::Tensor& x) { return fixed_sum(x.to(at::kDouble).square()).sqrt(); }

at::Tensor root_mean_square(const at::Tensor& x) {
  return fixed_norm(x) / std::sqrt(double(x.numel()));
}

// A row's own sum has one thread where there are several rows.
at::Tensor row_sums(const at::Tensor& x) {
  if (x.numel() > x.size(-1)) return x.contiguous().sum(-1);
  return fixed_sum(x).to(x.scalar_type()).view(x.sizes().slice(0, x.dim() - 1));
}

at::Tensor row_means(const at::Tensor& x) {
  return row_sums(x).div_(double(x.size(-1))).unsqueeze(-1);
}

at::Tensor column_means(const at::Tensor& x) {
  return row_sums(x.mT()).div_(double(x.size(-2))).unsqueeze(-2);
}

at::Tensor row_norms(const at::Tensor& x) { return row_sums(x.square()).sqrt_().unsqueeze(-1); }

at::Tensor column_norms(const at::Tensor& x) {
  return row_sums(x.mT().square()).sqrt_().unsqueeze(-2);
}

}  // namespace blockwise
