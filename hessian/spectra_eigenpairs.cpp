#include "hessian/spectra_eigenpairs.hpp"

#include <ATen/ATen.h>
#include <Spectra/SymEigsSolver.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/machine_epsilon.hpp"

namespace blockwise {
namespace {

struct StoppedByObserver {};

// The operator as Spectra calls it, counting.
struct HostOperator {
  using Scalar = double;
  const LinearOperator& a;
  const std::function<bool(std::int64_t)>& observe;
  mutable std::int64_t products = 0;

  Eigen::Index rows() const { return a.rows(); }
  Eigen::Index cols() const { return a.columns(); }
  void perform_op(const double* x, double* y) const {
    const auto in = at::from_blob(const_cast<double*>(x), {a.columns()}, at::kDouble);
    at::from_blob(y, {a.rows()}, at::kDouble).copy_(a(in.to(a.options(), false, /*copy=*/true)));
    ++products;
    if (observe && !observe(products)) throw StoppedByObserver{};
  }
};

// Spectra's own list of converged values does not say which end one belongs to, so the pairs are
// taken from its space.
class Solver : public Spectra::SymEigsSolver<HostOperator> {
 public:
  using Spectra::SymEigsSolver<HostOperator>::SymEigsSolver;
  const Eigen::MatrixXd& basis() const { return this->m_fac.matrix_V(); }
  const Eigen::MatrixXd& projected() const { return this->m_fac.matrix_H(); }
};

Spectra::SortRule rule_of(SpectrumEnd end) {
  switch (end) {
    case SpectrumEnd::largest:
      return Spectra::SortRule::LargestAlge;
    case SpectrumEnd::smallest:
      return Spectra::SortRule::SmallestAlge;
    case SpectrumEnd::both:
      break;
  }
  return Spectra::SortRule::BothEnds;
}

double noise_of(const LinearOperator& a, const EigenpairOptions& options) {
  return std::max(options.noise, machine_epsilon(a.options()));
}

RitzPair confirmed(const LinearOperator& a, std::int64_t place, double value,
                   const Eigen::VectorXd& u) {
  RitzPair pair;
  pair.place = place;
  pair.value = value;
  pair.vector = at::from_blob(const_cast<double*>(u.data()), {a.rows()}, at::kDouble)
                    .to(a.options(), false, /*copy=*/true);
  pair.residual = euclidean_norm(a(pair.vector).sub_(pair.vector, value));
  pair.residual_bound = pair.residual;
  return pair;
}

// Rayleigh-Ritz in the solver's last space.
void take_pairs(const LinearOperator& a, const Solver& solver, const EigenpairOptions& options,
                EigenpairResult& result) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> small(solver.projected());
  const auto& values = small.eigenvalues();
  const double bound =
      convergence_bound(options.tolerance, noise_of(a, options), values.cwiseAbs().maxCoeff());
  result.converged = true;
  for (const auto& [i, place] : outermost_places(values.size(), options.pairs, options.end)) {
    const Eigen::VectorXd u = solver.basis() * small.eigenvectors().col(i);
    result.pairs.push_back(confirmed(a, place, values[i], u.normalized()));
    auto& pair = result.pairs.back();
    pair.converged = pair.residual <= bound;
    result.converged = result.converged && pair.converged;
  }
}

}  // namespace

EigenpairResult spectra_eigenpairs(const LinearOperator& a, const at::Tensor& start,
                                   const EigenpairOptions& options,
                                   const std::function<bool(std::int64_t)>& observe) {
  require_input(a.symmetric(), "Lanczos needs a symmetric operator");
  const auto basis = eigenpair_basis(options, a.rows());
  const auto wanted = options.pairs * (options.end == SpectrumEnd::both ? 2 : 1);
  require_input(wanted < a.rows(), "Spectra finds fewer than the {} pairs of the operator",
                a.rows());
  HostOperator op{a, observe};
  EigenpairResult result;
  try {
    Solver solver(op, wanted, basis);
    const auto first = start.to(at::kCPU, at::kDouble).contiguous();
    solver.init(first.data_ptr<double>());
    const auto per_restart = std::max<std::int64_t>(1, basis - wanted);
    const auto restarts = std::max<std::int64_t>(1, (options.most_products - basis) / per_restart);
    solver.compute(rule_of(options.end), restarts, std::max(options.tolerance, options.noise),
                   Spectra::SortRule::LargestAlge);
    result.products = op.products;
    result.restarts = solver.num_iterations();
    take_pairs(a, solver, options, result);
  } catch (const StoppedByObserver&) {
    return {{}, false, op.products, 0, false};
  }
  return result;
}

}  // namespace blockwise
