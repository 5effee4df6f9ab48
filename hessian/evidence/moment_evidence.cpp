#include "hessian/evidence/moment_evidence.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.hpp"
#include "core/partition/section_blocks.hpp"
#include "hessian/evidence/two_way_fit.hpp"

namespace blockwise {
namespace {

constexpr double kRounding = 1e-12;  // relative; of sums of up to 10^8 doubles

// What a structure makes of matrices [rows, columns] of which the elements with used = 1 count.
class StructureFit {
 public:
  StructureFit(const PartitionSection& section, at::Tensor used)
      : section_(section),
        labels_(at::tensor(labels_of(section), at::kLong)),
        used_(std::move(used)),
        sizes_(sums(at::ones_like(used_))) {}

  // Sums over the elements of every group that count.
  at::Tensor sums(const at::Tensor& x) const {
    return at::zeros({section_.block_count()}, at::kDouble)
        .index_add_(0, labels_, (used_ * x).reshape({-1}));
  }

  // One value per group; for factored row and column effects of every group of rows, by `fit`.
  template <typename Fit>
  at::Tensor of(const at::Tensor& x, const Fit& fit) const {
    switch (section_.structure.kind) {
      case Structure::Kind::elements:
        return x;
      case Structure::Kind::factored:
        return by_groups_of_rows(x, fit);
      default:
        return (sums(x) / sizes_.clamp_min(1.0)).index_select(0, labels_).view_as(x);
    }
  }

 private:
  template <typename Fit>
  at::Tensor by_groups_of_rows(const at::Tensor& x, const Fit& fit) const {
    const auto rows = section_.structure.tile_rows;
    const auto values = x.split(rows, 0), used = used_.split(rows, 0);
    std::vector<at::Tensor> groups;
    for (std::size_t g = 0; g < values.size(); ++g) groups.push_back(fit(values[g], used[g]));
    return at::cat(groups);
  }

  const PartitionSection& section_;
  at::Tensor labels_, used_, sizes_;
};

double ratio(const at::Tensor& a, const at::Tensor& b) {
  const double below = b.sum().item<double>();
  return below > 0.0 ? a.sum().item<double>() / below : 1.0;
}

// Inner products of different estimates.
at::Tensor products(const std::vector<at::Tensor>& x) {
  // x_g . x_h; the diagonal, where an estimate's noise meets itself, is left out.
  const auto rows = at::stack(x);
  const auto all = rows.mm(rows.t());
  return all - at::diag(all.diagonal());
}

// Of ratio(left, whole) over the estimates.
double jackknife_error(const at::Tensor& left, const at::Tensor& whole) {
  const auto count = left.size(0);
  double mean = 0.0, squares = 0.0;
  for (std::int64_t g = 0; g < count; ++g) {
    // t_(g): the ratio without all products of estimate g
    auto keep = at::ones({count, count}, at::kDouble);
    keep.select(0, g).zero_();
    keep.select(1, g).zero_();
    const double without = ratio(left * keep, whole * keep);
    mean += without / double(count);
    squares += without * without;
  }
  // sqrt((n - 1) / n sum_g (t_(g) - mean)^2)
  squares = std::max(0.0, squares - double(count) * mean * mean);
  return std::sqrt(squares * double(count - 1) / double(count));
}

}  // namespace

Inside inside_log_variance(const std::vector<at::Tensor>& v, const PartitionSection& section) {
  require_input(v.size() >= 3, "{} estimates of v, at least 3 are needed", v.size());
  auto seen = v.front().gt(0.0);
  for (const auto& estimate : v) seen = seen.logical_and(estimate.gt(0.0));
  const auto used = seen.to(at::kDouble);
  const double elements = used.sum().item<double>();
  if (elements == 0.0) return {};
  const StructureFit fit(section, used);
  std::vector<at::Tensor> centred, inside;
  for (const auto& estimate : v) {
    // x = log v; x - mean(x), and x - what the structure makes of it
    const auto x = at::where(seen, estimate, at::ones_like(estimate)).log();
    centred.push_back((used * (x - x.sum() / elements)).reshape({-1}));
    inside.push_back((used * (x - fit.of(x, additive_fit))).reshape({-1}));
  }
  const auto whole = products(centred), left = products(inside);
  // sum over g != h of x_g . x_h is unbiased for G (G - 1) n times the variance.
  const double terms = double(v.size() * (v.size() - 1)) * elements;
  return {ratio(left, whole), jackknife_error(left, whole),
          std::max(0.0, left.sum().item<double>() / terms)};
}

double signal_to_noise(const at::Tensor& v, const PartitionSection& section) {
  const auto used = v.gt(0.0).to(at::kDouble);
  if (used.sum().item<double>() == 0.0) return std::numeric_limits<double>::quiet_NaN();
  const StructureFit fit(section, used);
  const auto fitted = fit.of(v, multiplicative_fit);
  // Per block: |fit|^2 / |v - fit|^2
  const auto signal = fit.sums(fitted.square()), noise = fit.sums((v - fitted).square());
  const auto spread = noise.gt(kRounding * kRounding * signal).nonzero().squeeze(1);
  if (spread.numel() == 0) return std::numeric_limits<double>::infinity();
  return (signal.index_select(0, spread) / noise.index_select(0, spread)).mean().item<double>();
}

}  // namespace blockwise
