// What solvers for the ends of a spectrum are asked for and give.
#pragma once

#include <cstdint>
#include <vector>

#include "hessian/lanczos.hpp"

namespace blockwise {

struct EigenpairOptions {
  std::int64_t pairs = 6;  // wanted at each end that is asked for
  SpectrumEnd end = SpectrumEnd::both;
  std::int64_t basis = 0;  // vectors; 0: 2 * wanted + 10, at most the rows
  double tolerance = 1e-6;
  double noise = 0.0;                // of a product, relative, as check_operator() measures it
  std::int64_t most_products = 300;  // without the confirmations
  std::uint64_t seed = 0;            // of further starts
  // Other processes that keep the basis, too; outlive the process. ThickRestart only.
  const BasisKeepers* keepers = nullptr;
};

struct EigenpairResult {
  // Outermost first, both ends in turn as Lanczos::pairs() has them; residuals confirmed by one
  // product each. Those that have not converged are marked.
  std::vector<RitzPair> pairs;
  bool converged = false;  // all of them; otherwise most_products ended it
  std::int64_t products = 0;
  std::int64_t restarts = 0;
  // Whether further starts found no more copies of eigenvalues that repeat; otherwise such a one
  // may stand there once.
  bool copies_found = false;
};

// Vectors of the basis. Throws InputError where the wanted pairs do not fit.
std::int64_t eigenpair_basis(const EigenpairOptions& options, std::int64_t rows);

}  // namespace blockwise
