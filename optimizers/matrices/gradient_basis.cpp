#include "optimizers/matrices/gradient_basis.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "optimizers/matrices/fixed_sums.hpp"

namespace blockwise {

LowRank::LowRank(const Parameter& parameter, std::int64_t wanted)
    : right(parameter.rows() >= parameter.columns()),
      rank(std::min({wanted, parameter.rows(), parameter.columns()})),
      rows(parameter.rows()),
      columns(parameter.columns()) {}

std::vector<std::int64_t> LowRank::basis_shape() const {
  return right ? std::vector{rank, columns} : std::vector{rows, rank};
}

std::vector<std::int64_t> LowRank::projected_shape() const {
  return right ? std::vector{rows, rank} : std::vector{rank, columns};
}

at::Tensor LowRank::project(const at::Tensor& g, const at::Tensor& basis) const {
  return right ? g.mm(basis.t()) : basis.t().mm(g);
}

at::Tensor LowRank::lift(const at::Tensor& r, const at::Tensor& basis) const {
  return right ? r.mm(basis) : basis.mm(r);
}

at::Tensor LowRank::channel_norms(const at::Tensor& r) const {
  return right ? row_norms(r) : column_norms(r);
}

at::Tensor gradient_basis(const at::Tensor& g, const LowRank& low) {
  const auto [u, s, vh] = at::linalg_svd(g, false);
  const auto vectors = low.right ? vh.narrow(0, 0, low.rank) : u.narrow(1, 0, low.rank);
  const std::int64_t along = low.right ? 1 : 0;
  const auto largest = vectors.gather(along, vectors.abs().argmax(along, true));
  return vectors * at::where(largest < 0, -1.0, 1.0).to(vectors.scalar_type());
}

bool is_unset(const at::Tensor& basis) { return !basis.any().item<bool>(); }

}  // namespace blockwise
