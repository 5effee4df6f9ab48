// The smaller side of a matrix, projected to a low rank: what GaLore, Fira, APOLLO and LDAdam
// share. For rows >= columns a basis P is [rank, columns] and projects from the right, R = g P^T
// [rows, rank]; otherwise it is [rows, rank] and projects from the left, R = P^T g [rank, columns].
#pragma once

#include <vector>

#include "core/parameters/parameter.hpp"
#include "optimizers/state/state_spec.hpp"

namespace blockwise {

struct LowRank {
  bool right;         // which side P stands on
  std::int64_t rank;  // at most the smaller side
  std::int64_t rows, columns;

  LowRank(const Parameter& parameter, std::int64_t wanted);

  std::vector<std::int64_t> basis_shape() const;      // of P
  std::vector<std::int64_t> projected_shape() const;  // of R
  at::Tensor project(const at::Tensor& g, const at::Tensor& basis) const;
  at::Tensor lift(const at::Tensor& r, const at::Tensor& basis) const;  // back to [rows, columns]
  // Norms over the axis of length rank, broadcasting to [rows, columns]: one per row or column.
  at::Tensor channel_norms(const at::Tensor& r) const;
};

// The first singular vectors of g on that side. Every vector's largest component is positive, which
// makes a step of a machine that of another.
at::Tensor gradient_basis(const at::Tensor& g, const LowRank& low);

// Whether the basis was never written: where the gradient of the step that was to make it was not
// finite, and gradients are released, that step did not happen. Waits for the device.
bool is_unset(const at::Tensor& basis);

}  // namespace blockwise
