#include "hessian/dense_eigenpairs.hpp"

#include <ATen/ATen.h>

#include "hessian/dense.hpp"

namespace blockwise {

EigenpairResult dense_eigenpairs(const LinearOperator& a, const EigenpairOptions& options) {
  const auto system = symmetric_eigensystem(to_dense(a));
  const auto n = a.rows();
  EigenpairResult result;
  result.converged = result.copies_found = true;
  result.products = n;
  for (const auto& [index, place] : outermost_places(n, options.pairs, options.end)) {
    RitzPair pair;
    pair.place = place;
    pair.value = system.values[static_cast<std::size_t>(index)];
    pair.vector = system.vectors.select(1, index).to(a.options()).contiguous();
    pair.residual = euclidean_norm(a(pair.vector).sub_(pair.vector, pair.value));
    pair.residual_bound = pair.residual;
    pair.converged = true;
    result.pairs.push_back(std::move(pair));
  }
  return result;
}

}  // namespace blockwise
