// Eigenpairs at the ends of a spectrum by Spectra's implicitly restarted Lanczos (Sorensen 1992):
// another solver for the same question, where its basis fits on the host.
#pragma once

#include "hessian/eigenpairs.hpp"

namespace blockwise {

// As ThickRestart, with vectors in float64 on the host whatever the operator's dtype: basis * rows
// * 8 bytes there. The tolerance is relative to each eigenvalue, and at least the noise.
// most_products bounds it to within one restart. `observe` gets products done and may end it by
// returning false: then no pair is there. Throws InputError as ThickRestart does.
EigenpairResult spectra_eigenpairs(const LinearOperator& a, const at::Tensor& start,
                                   const EigenpairOptions& options,
                                   const std::function<bool(std::int64_t)>& observe = {});

}  // namespace blockwise
