// How well the blocks of a partition stand for a symmetric matrix A in its product with one vector
// x, where D_P is A without what lies between blocks. With random signs s^k per block and
// a_k = s^k . A (s^k . x), the mean of a_k is D_P x, so
//   mean over k != l of a_k . a_l   is unbiased for  ||D_P x||^2,   mean of a_k . A x  for
//   <D_P x, A x>.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/base/linear_operator.hpp"

namespace blockwise {

struct PartitionFidelity {
  double cosine = 0.0;          // of D_P x and A x
  double relative_error = 0.0;  // ||D_P x - A x|| / ||A x||
  // Jackknife over the codes.
  double cosine_error = 0.0, relative_error_error = 0.0;
  std::int64_t products = 0;
};

// labels: int64 [rows] on the CPU, block numbers 0 .. block_count - 1; x [rows], not 0; codes: at
// least 3. Cost: codes + 1 products, memory for as many vectors.
struct FidelityPlan {
  std::int64_t codes = 3;
  std::uint64_t seed = 0;
};
PartitionFidelity partition_fidelity(const LinearOperator& a, const at::Tensor& labels,
                                     std::int64_t block_count, const at::Tensor& x,
                                     const FidelityPlan& plan);

}  // namespace blockwise
