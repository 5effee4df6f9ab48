// Eigenpairs at the ends of a spectrum by Spectra's implicitly restarted Lanczos (Sorensen 1992):
// another solver for the same question, where its basis fits on the host.
#pragma once

#include "hessian/eigenpairs.hpp"

namespace blockwise {

// As ThickRestart, with vectors in float64 on the host whatever the operator's dtype: basis * rows
// * 8 bytes there. It ends when residuals are within the tolerance, and at least the noise, of each
// eigenvalue, so never by itself where one is 0; what counts as converged is the same as there. One
// start: copies of an eigenvalue that repeats are not looked for. most_products bounds it to within
// one restart. `observe` gets products done and may end it by
// returning false: then no pair is there. Throws InputError as ThickRestart does.
EigenpairResult spectra_eigenpairs(const LinearOperator& a, const at::Tensor& start,
                                   const EigenpairOptions& options,
                                   const std::function<bool(std::int64_t)>& observe = {});

}  // namespace blockwise
