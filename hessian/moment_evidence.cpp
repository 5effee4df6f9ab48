#include "hessian/moment_evidence.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace blockwise {
namespace {

at::Tensor labels_of(const PartitionSection& section) {
  auto alone = section;
  alone.row_begin = 0;
  return at::tensor(TensorPartition{{alone}}.labels(), at::kLong);
}

at::Tensor sums(const at::Tensor& x, const at::Tensor& labels, std::int64_t count) {
  return at::zeros({count}, at::kDouble).index_add_(0, labels, x.reshape({-1}));
}

// x without what one value per group says.
at::Tensor without_means(const at::Tensor& x, const PartitionSection& section) {
  const auto labels = labels_of(section);
  const auto count = section.block_count();
  const auto sizes = sums(at::ones_like(x), labels, count);
  return x - (sums(x, labels, count) / sizes).index_select(0, labels).view_as(x);
}

// x without what a row's and a column's value say, in every group of rows: log of a rank-one v is
// their sum.
at::Tensor without_rows_and_columns(const at::Tensor& x, std::int64_t group_rows) {
  std::vector<at::Tensor> groups;
  for (const auto& g : x.split(group_rows, 0)) {
    groups.push_back(g - g.mean(1, true) - g.mean(0, true) + g.mean());
  }
  return at::cat(groups);
}

at::Tensor residual(const at::Tensor& x, const PartitionSection& section) {
  switch (section.structure.kind) {
    case Structure::Kind::elements:
      return at::zeros_like(x);
    case Structure::Kind::factored:
      return without_rows_and_columns(x, section.structure.tile_rows);
    default:
      return without_means(x, section);
  }
}

}  // namespace

Inside inside_log_variance(const std::vector<at::Tensor>& v, const PartitionSection& section) {
  require_input(v.size() >= 3, "{} estimates of v, at least 3 are needed", v.size());
  const auto count = static_cast<std::int64_t>(v.size());
  std::vector<at::Tensor> centred, inside;
  for (const auto& estimate : v) {
    const auto x = estimate.log();
    centred.push_back((x - x.mean()).reshape({-1}));
    inside.push_back(residual(x, section).reshape({-1}));
  }
  const auto products = [&](const std::vector<at::Tensor>& x) {
    const auto rows = at::stack(x);
    const auto all = rows.mm(rows.t());
    return all - at::diag(all.diagonal());
  };
  const auto whole = products(centred), left = products(inside);
  const auto ratio = [](const at::Tensor& a, const at::Tensor& b) {
    const double below = b.sum().item<double>();
    return below > 0.0 ? a.sum().item<double>() / below : 1.0;
  };
  Inside result;
  result.share = ratio(left, whole);
  const double terms = double(count * (count - 1) * v.front().numel());
  result.variance = std::max(0.0, left.sum().item<double>() / terms);
  double mean = 0.0, squares = 0.0;
  for (std::int64_t g = 0; g < count; ++g) {
    auto keep = at::ones({count, count}, at::kDouble);
    keep.select(0, g).zero_();
    keep.select(1, g).zero_();
    const double without = ratio(left * keep, whole * keep);
    mean += without / double(count);
    squares += without * without;
  }
  squares = std::max(0.0, squares - double(count) * mean * mean);
  result.standard_error = std::sqrt(squares * double(count - 1) / double(count));
  return result;
}

double signal_to_noise(const at::Tensor& v, const PartitionSection& section) {
  const auto labels = labels_of(section);
  const auto count = section.block_count();
  const auto sizes = sums(at::ones_like(v), labels, count);
  const auto mean = sums(v, labels, count) / sizes;
  const auto variance = sums(without_means(v, section).square(), labels, count) / sizes;
  const auto used = variance.gt(0.0).nonzero().squeeze(1);
  if (used.numel() == 0) return std::numeric_limits<double>::infinity();
  return (mean.square().index_select(0, used) / variance.index_select(0, used))
      .mean()
      .item<double>();
}

}  // namespace blockwise
