// The Lanczos process on a symmetric operator (Lanczos 1950; Paige 1972):
//   A Q = Q T + r e_m^T,   Q [n, m] orthonormal, T tridiagonal with alpha on and beta beside the
// diagonal. Eigenvalues of T (Ritz values) approach those of A from the ends inwards; T alone gives
// Gauss quadrature for q_1^T f(A) q_1, exact for polynomials up to degree 2m - 1 (Golub and
// Meurant).
//
// Cost per step: one product and, with full reorthogonalisation, one read of the basis so far and
// one of those of its vectors along which the new one is not orthogonal to rounding; a second pass
// only where the first one took away more than it left, the test of Daniel, Gragg, Kaufman and
// Stewart (1976). Memory: the basis and three vectors.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/linear_operator.hpp"
#include "core/base/saved_state.hpp"
#include "hessian/krylov_basis.hpp"

namespace blockwise {

enum class Reorthogonalisation {
  full,       // against every vector: no ghosts
  selective,  // against converged Ritz vectors only (Parlett and Scott 1979): sqrt(eps)
              // orthogonality
  none        // two vectors of memory; T is right for densities, its eigenvalues repeat (ghosts)
};

struct LanczosOptions {
  std::int64_t steps = 100;
  std::int64_t most_steps = 0;  // room for extend(); 0: steps
  Reorthogonalisation reorthogonalisation = Reorthogonalisation::full;
  // Relative size of what a product gets wrong, as check_operator() measures it; at least 16
  // roundings of the dtype. A beta below 16 * noise * ||T|| ends the process: what follows would be
  // noise.
  double noise = 0.0;
  // Other processes that keep the basis, too, where there is one; outlive the process.
  const BasisKeepers* keepers = nullptr;
};

struct Tridiagonal {
  std::vector<double> alpha;  // m
  std::vector<double> beta;   // m: beta[j] couples j and j + 1; the last is the residual's norm
};

// Eigenvalues of T ascending, the first and last components of its eigenvectors.
struct RitzValues {
  std::vector<double> values;
  std::vector<double> first;  // squared: the quadrature's weights
  std::vector<double> last;   // times the last beta: the residual bound
};
RitzValues ritz_values(const Tridiagonal& t);

struct RitzPair {
  std::int64_t place = 0;  // 0 the largest, 1 the second largest, -1 the smallest, -2 the next
  double value = 0.0;      // at most the eigenvalue at its place from above, at least from below
  bool converged = false;  // its residual is within the tolerance; otherwise only such a bound
  double residual_bound = 0.0;  // |beta_m s_m|: an eigenvalue lies this near
  double residual = -1.0;       // ||A u - value u|| by one more product; -1 where not asked for
  at::Tensor vector;            // [n], unit norm; undefined without a basis, or where dropped
};

// What counts as converged: a residual of at most max(tolerance, 16 noise) * scale, scale the
// largest |Ritz value|.
double convergence_bound(double tolerance, double noise, double scale);

enum class SpectrumEnd { largest, smallest, both };

// Which of `count` ascending Ritz values are the k outermost ones of the ends, outermost first and
// both ends in turn, with their RitzPair::place. No value is there twice.
struct RitzPlace {
  std::int64_t index, place;
};
std::vector<RitzPlace> outermost_places(std::int64_t count, std::int64_t k, SpectrumEnd end);

class Lanczos {
 public:
  // `start` [n] need not have unit norm. Keeps a reference to the operator. Throws InputError for
  // an operator that is not symmetric, a start of norm 0, or more steps than rows.
  Lanczos(const LinearOperator& a, const at::Tensor& start, const LanczosOptions& options);

  // One step in two halves, for whoever has the products to make: the unit vector [n] that A is to
  // be applied to, and the product, which is changed. Only while !done().
  const at::Tensor& direction();
  const at::Tensor& product() const { return next_; }  // room for the product, [n]
  void receive(const at::Tensor& product);
  bool done() const { return broke_down_ || steps() >= options_.steps; }

  // From now on ends at `steps`, at most options.most_steps.
  void extend(std::int64_t steps);

  // Up to options.steps; `observe` gets the number done and may return false to stop in between.
  // Continues where it stopped. Returns the number of steps done.
  std::int64_t run(const std::function<bool(std::int64_t)>& observe = {});

  std::int64_t steps() const { return static_cast<std::int64_t>(tridiagonal_.alpha.size()); }
  // The space is invariant up to noise: T's eigenvalues are eigenvalues of A, quadrature is exact.
  bool broke_down() const { return broke_down_; }
  const Tridiagonal& tridiagonal() const { return tridiagonal_; }
  // The k pairs at an end (both: k of each), the outermost first; where the process keeps a basis
  // with vectors, unless each is to be dropped after its residual, and with residuals where they
  // are computed (one product each). A start sees every eigenvalue once, also one that repeats.
  enum class Residuals { bounded, computed };
  enum class Vectors { kept, dropped };
  std::vector<RitzPair> pairs(std::int64_t k, SpectrumEnd end, Residuals residuals,
                              double tolerance = 1e-6, Vectors vectors = Vectors::kept) const;

  // The whole state, so that a stopped process goes on with the same bits: arrays alpha, beta, the
  // basis' vectors, next. load() throws InputError for a process of another size, other options, or
  // a damaged state.
  void save(const StateWriter& state) const;
  void load(const StateReader& state);

 private:
  void orthogonalise(const at::Tensor& w);
  void orthogonalise_selectively(const at::Tensor& w);
  double noise() const;

  const LinearOperator& matrix_;
  LanczosOptions options_;
  KrylovBasis basis_;  // without reorthogonalisation the last two vectors
  at::Tensor next_;    // the next vector of the basis; scratch once it is in the basis
  at::Tensor newest_;  // the vector that A is being applied to; undefined between steps
  Tridiagonal tridiagonal_;
  bool broke_down_ = false;
};

// Several processes on operators that share work, one step of each at a time: `multiply` gets the
// directions of those that are not done, their places, and fills one product for each. Continues
// where they stopped; `observe` as above, after every round.
using LockstepProducts = std::function<void(const std::vector<std::size_t>& which,
                                            const std::vector<at::Tensor>& directions,
                                            std::vector<at::Tensor>& products)>;
void run_in_lockstep(const std::vector<Lanczos*>& processes, const LockstepProducts& multiply,
                     const std::function<bool(std::int64_t)>& observe = {});

}  // namespace blockwise
