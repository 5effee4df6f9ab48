#include "optimizers/matrices/fixed_sums.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace blockwise {
namespace {

constexpr std::int64_t kRun = 1024;
constexpr std::int64_t kSerial = 32768;  // at::internal::GRAIN_SIZE: sums up to it have one thread

}  // namespace

at::Tensor fixed_sum(const at::Tensor& x) {
  auto flat = x.contiguous().view({-1}).to(at::kDouble);
  while (flat.numel() > kSerial) {
    const auto whole = flat.numel() / kRun * kRun;
    const auto runs = flat.narrow(0, 0, whole).view({-1, kRun}).sum(1);
    flat = at::cat({runs, flat.narrow(0, whole, flat.numel() - whole).sum().view({1})});
  }
  return flat.sum();
}

at::Tensor fixed_norm(const at::Tensor& x) { return fixed_sum(x.to(at::kDouble).square()).sqrt(); }

at::Tensor root_mean_square(const at::Tensor& x) {
  return fixed_norm(x) / std::sqrt(double(x.numel()));
}

// A row's own sum has one thread where there are several rows.
at::Tensor row_sums(const at::Tensor& x) {
  if (x.size(0) > 1) return x.contiguous().sum(1);
  return fixed_sum(x).to(x.scalar_type()).view({1});
}

at::Tensor row_means(const at::Tensor& x) {
  return row_sums(x).div_(double(x.size(1))).view({-1, 1});
}

at::Tensor column_means(const at::Tensor& x) {
  return row_sums(x.t()).div_(double(x.size(0))).view({1, -1});
}

at::Tensor row_norms(const at::Tensor& x) { return row_sums(x.square()).sqrt_().view({-1, 1}); }

at::Tensor column_norms(const at::Tensor& x) {
  return row_sums(x.t().square()).sqrt_().view({1, -1});
}

}  // namespace blockwise
