// Eigenpairs at the ends of a spectrum in bounded memory: Lanczos with thick restarts (Wu and
// Simon, SIAM J. Matrix Anal. Appl. 22, 2000), the symmetric case of Krylov-Schur (Stewart 2001).
//
// The basis grows to `basis` vectors; then Rayleigh-Ritz keeps the wanted pairs and a few beside
// them, rotated in place, and goes on from there:
//   A V = V S + r e_m^T,   S = V^T A V symmetric,   residual of the pair (theta, V y):  ||r|| |y_m|
// Every new vector is orthogonalised against the whole basis, so no pair shows twice. A pair has
// converged when its residual is at most max(tolerance, 16 noise) ||S||.
//
// One start sees an eigenvalue that repeats once. So when all pairs have converged they are kept,
// and the process goes on from a random vector orthogonal to them: copies show among the outermost
// pairs then. It ends with a start that changes none of them, the next pair behind them at either
// end known to lie behind: it has converged itself, or its residual is less than its distance.
//
// Cost: a product per vector, two reads of the basis each (four where a second pass is needed), one
// read and write of it per restart. Memory: basis + 2 vectors.
#pragma once

#include <Eigen/Eigenvalues>
#include <functional>
#include <string>
#include <vector>

#include "hessian/eigenpairs.hpp"

namespace blockwise {

class ThickRestart {
 public:
  // `start` [rows] need not have unit norm. Keeps a reference to the operator. Throws InputError
  // for an operator that is not symmetric, a start of norm 0, or a basis that the wanted pairs do
  // not fit into.
  ThickRestart(const LinearOperator& a, const at::Tensor& start, const EigenpairOptions& options);

  // Goes on until the pairs have converged, copies included, or the products are spent. `observe`
  // gets products done and may stop it in between: then it returns false, and another call goes on.
  bool run(const std::function<bool(std::int64_t)>& observe = {});
  // The pairs as they are now.
  EigenpairResult result() const;

  // The whole state, so that a stopped process goes on with the same bits. load() throws InputError
  // for a process of another size or a damaged state.
  void save(const StateWriter& state) const;
  void load(const StateReader& state);

 private:
  using Solver = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>;
  bool wants_product() const;
  void step();
  void examine();
  void keep(const Solver& solver, std::int64_t at_each_end);
  void restart(const Solver& solver);
  void start_again(const Solver& solver);
  double floor() const;
  double bound() const;
  bool has_converged(const Solver& solver) const;
  bool is_next_behind(const Solver& solver) const;
  std::vector<double> wanted_values(const Solver& solver) const;
  Solver solve() const;

  const LinearOperator& matrix_;
  const EigenpairOptions options_;
  KrylovBasis basis_;
  at::Tensor next_;
  Eigen::MatrixXd projected_;  // V^T A V
  double residual_ = 0.0;
  double scale_ = 0.0;
  std::int64_t products_ = 0;
  std::int64_t restarts_ = 0;
  std::int64_t starts_ = 1;
  std::vector<double> found_;  // values of the wanted pairs when the present start began
  bool converged_ = false;
  bool copies_found_ = false;
  bool ended_ = false;
};

}  // namespace blockwise
