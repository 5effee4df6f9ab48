// Eigenpairs at the ends of a spectrum in bounded memory: Lanczos with thick restarts (Wu and
// Simon, SIAM J. Matrix Anal. Appl. 22, 2000), the symmetric case of Krylov-Schur (Stewart 2001).
//
// The basis grows to `basis` vectors; then Rayleigh-Ritz keeps the wanted pairs and a few beside
// them, rotated in place, and goes on from there:
//   A V = V S + r e_m^T,   S = V^T A V symmetric,   residual of the pair (theta, V y):  ||r|| |y_m|
// Every new vector is orthogonalised against the whole basis, so no pair shows twice. A pair has
// converged when its residual is at most max(tolerance, 16 noise) ||S||.
//
// Cost: a product per vector, two reads of the basis each (four where a second pass is needed), one
// read and write of it per restart. Memory: basis + 2 vectors.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <functional>
#include <vector>

#include "hessian/lanczos.hpp"

namespace blockwise {

struct ThickRestartOptions {
  std::int64_t pairs = 6;  // wanted at each end that is asked for
  SpectrumEnd end = SpectrumEnd::both;
  std::int64_t basis = 0;  // vectors; 0: 2 * wanted + 10, at most the rows
  double tolerance = 1e-6;
  double noise = 0.0;                // of a product, relative, as check_operator() measures it
  std::int64_t most_products = 300;  // without the confirmations
};

struct ThickRestartResult {
  // Outermost first, both ends in turn as Lanczos::pairs() has them; residuals confirmed by one
  // product each.
  std::vector<RitzPair> pairs;
  bool converged = false;  // all of them; otherwise most_products ended it
  std::int64_t products = 0;
  std::int64_t restarts = 0;
};

// Throws InputError for an operator that is not symmetric, a start of norm 0, or a basis that the
// wanted pairs do not fit into. `observe` gets products done and may end it by returning false.
ThickRestartResult thick_restart_eigenpairs(const LinearOperator& a, const at::Tensor& start,
                                            const ThickRestartOptions& options,
                                            const std::function<bool(std::int64_t)>& observe = {});

}  // namespace blockwise
