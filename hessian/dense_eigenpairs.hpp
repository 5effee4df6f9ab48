// Eigenpairs of an operator that has hardly more of them than are asked for.
#pragma once

#include "core/base/linear_operator.hpp"
#include "hessian/eigenpairs.hpp"

namespace blockwise {

// From the operator as a matrix: all of them where there are no more than the wanted ones. Cost: a
// product per row and one per pair for its residual, and O(rows^3). Throws InputError above
// kLargestDense.
EigenpairResult dense_eigenpairs(const LinearOperator& a, const EigenpairOptions& options);

}  // namespace blockwise
