// How much of a section's off-diagonal energy lies inside the blocks of a partition, from samples
// of sign-coded probes.
#pragma once

#include <ATen/core/Tensor.h>

#include <limits>

namespace blockwise {

// Of one section at one level: see partition_energies.hpp.
struct EnergySamples {
  at::Tensor inside, whole;  // [vectors] float64, two at least: inside the blocks, of the section
  double diagonal = 0.0, diagonal_error = 0.0;
};

struct OffDiagonalShare {
  double value = 0.0;
  double standard_error = std::numeric_limits<double>::infinity();
};

// Where products mix sections, the samples of a section of little energy are noise of the others,
// and a quotient by them has neither mean nor spread: there a share counts where its error is at
// most this, which has Y five standard errors of that noise above 0.
inline constexpr double kLargestMixedError = 0.2;

// X / Y of means over vectors, X = inside - diagonal, Y = whole - diagonal. The bias of a quotient
// of means is taken off to first order, + cov(X - (X / Y) Y, Y) / Y^2; the error is that of
// X - (X / Y) Y over Y, with the diagonal's; infinite where Y or a sample of the whole is not above
// 0.
//
// The lift over chance is coupling_lift(value, random_share(labels, blocks, 0)): the diagonal,
// which is inside for any blocks, counts for neither.
OffDiagonalShare off_diagonal_share(const EnergySamples& samples);

}  // namespace blockwise
