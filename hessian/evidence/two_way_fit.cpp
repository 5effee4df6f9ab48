#include "hessian/evidence/two_way_fit.hpp"

#include <ATen/ATen.h>

#include <utility>

namespace blockwise {
namespace {

constexpr int kMostTurns = 100;
constexpr double kStill = 1e-12;  // of the largest effect

bool moved(const at::Tensor& now, const at::Tensor& before) {
  return (now - before).abs().max().item<double>() > kStill * now.abs().max().item<double>();
}

// turn(columns) gives rows and columns after it.
template <typename Turn>
std::pair<at::Tensor, at::Tensor> settle(at::Tensor columns, const Turn& turn) {
  std::pair<at::Tensor, at::Tensor> effects{{}, std::move(columns)};
  for (int i = 0; i < kMostTurns; ++i) {
    const auto before = effects.second;
    effects = turn(before);
    if (i > 0 && !moved(effects.second, before)) break;
  }
  return effects;
}

// a / b, 0 where b is.
at::Tensor quotient(const at::Tensor& a, const at::Tensor& b) {
  return at::where(b.gt(0.0), a / b, at::zeros_like(a));
}

}  // namespace

at::Tensor additive_fit(const at::Tensor& x, const at::Tensor& used) {
  const auto in_row = used.sum(1, true), in_column = used.sum(0, true);
  const auto [r, c] = settle(at::zeros_like(in_column), [&](const at::Tensor& columns) {
    const auto rows = quotient((used * (x - columns)).sum(1, true), in_row);
    return std::pair{rows, quotient((used * (x - rows)).sum(0, true), in_column)};
  });
  return r + c;
}

at::Tensor multiplicative_fit(const at::Tensor& x, const at::Tensor& used) {
  const auto kept = used * x;
  const auto of_row = kept.sum(1, true), of_column = kept.sum(0, true);
  const auto [r, c] = settle(used.amax(0, true), [&](const at::Tensor& columns) {
    const auto rows = quotient(of_row, (used * columns).sum(1, true));
    return std::pair{rows, quotient(of_column, (used * rows).sum(0, true))};
  });
  return r * c;
}

}  // namespace blockwise
