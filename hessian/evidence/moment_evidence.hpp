// What the second moments of gradients, or the diagonal of the Hessian, say about structures: how
// much of the spread of log v lies inside groups that are to share a value, and SlimAdam's
// signal-to-noise ratio.
//
// Elements with v = 0, such as rows of tokens that no example had, say nothing of how v is spread
// and are left out; a group without any other is no group. Nothing here depends on the unit of v.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/partition/partition.hpp"

namespace blockwise {

struct Inside {
  double share = 1.0;  // of the variance of log v
  double standard_error = 0.0;
  double variance = 0.0;  // of log v inside groups, noise left out; not below 0
};

// Share of the variance of log v that a structure leaves inside its groups: 0 where one value per
// group (a rank-one product, for factored) says everything, 1 where it says nothing. v: several
// independent estimates [rows, columns], float64, not negative; elements that are 0 in one are left
// out in all. Two at a time share no noise, so their covariance leaves it out; the error is a
// jackknife over the estimates. Elements of groups of one have no inside.
Inside inside_log_variance(const std::vector<at::Tensor>& v, const PartitionSection& section);

// Mean over groups of the signal-to-noise ratio inside them (Kalra et al., arXiv 2503.01843, eq.
// 3),
//   sum of f^2 / sum of (v - f)^2,
// with f what the structure makes of v: the group's mean, so that it is mean^2 / variance, and for
// factored the product of row and column effects with v's row and column sums. Groups where f is v
// up to rounding have no ratio; infinite where all are such, NaN where v is 0 everywhere. Averaging
// is taken to be safe from 1 on.
double signal_to_noise(const at::Tensor& v, const PartitionSection& section);

}  // namespace blockwise
