#include "hessian/dense_eigenpairs.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "hessian/dense.hpp"

namespace blockwise {

EigenpairResult dense_eigenpairs(const LinearOperator& a, const EigenpairOptions& options) {
  const auto system = symmetric_eigensystem(to_dense(a));
  const auto n = a.rows();
  EigenpairResult result;
  result.converged = true;
  result.products = n;
  const auto add = [&](std::int64_t place) {
    RitzPair pair;
    pair.value = system.values[static_cast<std::size_t>(place)];
    pair.vector = system.vectors.select(1, place).to(a.options()).contiguous();
    pair.residual = euclidean_norm(a(pair.vector).sub_(pair.vector, pair.value));
    pair.residual_bound = pair.residual;
    result.pairs.push_back(std::move(pair));
  };
  for (std::int64_t top = n - 1, bottom = 0, k = 0; k < options.pairs && bottom <= top; ++k) {
    if (options.end != SpectrumEnd::smallest) add(top--);
    if (options.end != SpectrumEnd::largest && bottom <= top) add(bottom++);
  }
  return result;
}

}  // namespace blockwise
