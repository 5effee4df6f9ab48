#include "hessian/spectra_eigenpairs.hpp"

#include <ATen/ATen.h>
#include <Spectra/SymEigsSolver.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace blockwise {
namespace {

struct Stopped {};

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
    if (observe && !observe(products)) throw Stopped{};
  }
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

// Of values in descending order: the largest, the smallest, the second largest, ...
std::vector<Eigen::Index> outermost_first(Eigen::Index count, SpectrumEnd end) {
  std::vector<Eigen::Index> places;
  for (Eigen::Index top = 0, bottom = count - 1; top <= bottom;) {
    if (end != SpectrumEnd::smallest) places.push_back(top++);
    if (end != SpectrumEnd::largest && top <= bottom) places.push_back(bottom--);
  }
  return places;
}

RitzPair confirmed(const LinearOperator& a, double value, const Eigen::VectorXd& u) {
  RitzPair pair;
  pair.value = value;
  pair.vector = at::from_blob(const_cast<double*>(u.data()), {a.rows()}, at::kDouble)
                    .to(a.options(), false, /*copy=*/true);
  pair.residual = euclidean_norm(a(pair.vector).sub_(pair.vector, value));
  pair.residual_bound = pair.residual;
  return pair;
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
    Spectra::SymEigsSolver<HostOperator> solver(op, wanted, basis);
    const auto first = start.to(at::kCPU, at::kDouble).contiguous();
    solver.init(first.data_ptr<double>());
    const auto per_restart = std::max<std::int64_t>(1, basis - wanted);
    const auto restarts = std::max<std::int64_t>(1, (options.most_products - basis) / per_restart);
    solver.compute(rule_of(options.end), restarts, std::max(options.tolerance, options.noise),
                   Spectra::SortRule::LargestAlge);
    result.converged = solver.info() == Spectra::CompInfo::Successful;
    result.products = op.products;
    result.restarts = solver.num_iterations();
    const Eigen::VectorXd values = solver.eigenvalues();
    const Eigen::MatrixXd vectors = solver.eigenvectors();
    for (const auto i : outermost_first(values.size(), options.end)) {
      result.pairs.push_back(confirmed(a, values[i], vectors.col(i)));
    }
  } catch (const Stopped&) {
    return {{}, false, op.products, 0};
  }
  return result;
}

}  // namespace blockwise
