#include "hessian/thick_restart.hpp"

#include <ATen/ATen.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace blockwise {
namespace {

constexpr double kTakesAway = 0.7071;  // of the norm: below that a pass is repeated
constexpr double kNoiseFactor = 16.0;

using Solver = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>;

std::int64_t ends(SpectrumEnd end) { return end == SpectrumEnd::both ? 2 : 1; }

std::int64_t basis_size(const ThickRestartOptions& options, std::int64_t rows) {
  const auto wanted = options.pairs * ends(options.end);
  const auto size = options.basis > 0 ? options.basis : 2 * wanted + 10;
  require_input(options.pairs >= 1, "{} pairs, at least 1 is needed", options.pairs);
  require_input(wanted <= rows, "{} pairs of an operator with {} rows", wanted, rows);
  require_input(std::min(size, rows) >= std::min(wanted + 2, rows),
                "a basis of {} vectors for {} pairs, at least {} are needed", size, wanted,
                wanted + 2);
  return std::min(size, rows);
}

// Places of the k outermost values at the wanted ends, ascending order of values given.
std::vector<Eigen::Index> outermost(Eigen::Index m, std::int64_t k, SpectrumEnd end) {
  std::vector<Eigen::Index> places;
  for (Eigen::Index i = 0; i < std::min<Eigen::Index>(k, m); ++i) {
    if (end != SpectrumEnd::smallest) places.push_back(m - 1 - i);
    if (end == SpectrumEnd::smallest || (end == SpectrumEnd::both && i < m - 1 - i)) {
      places.push_back(i);
    }
  }
  return places;
}

class ThickRestart {
 public:
  ThickRestart(const LinearOperator& a, const at::Tensor& start, const ThickRestartOptions& options)
      : a_(a),
        options_(options),
        basis_(a.rows(), basis_size(options, a.rows()), a.options()),
        next_(start.clone()),
        s_(Eigen::MatrixXd::Zero(basis_.capacity(), basis_.capacity())) {
    require_input(a.symmetric(), "Lanczos needs a symmetric operator");
    const double length = euclidean_norm(next_);
    require_input(length > 0.0 && std::isfinite(length), "a Lanczos start of norm {}", length);
    next_.div_(length);
  }

  ThickRestartResult run(const std::function<bool(std::int64_t)>& observe) {
    ThickRestartResult result;
    for (;;) {
      const bool go_on = fill(result, observe);
      const Solver solver(s_.topLeftCorner(basis_.count(), basis_.count()));
      const auto wanted = outermost(basis_.count(), options_.pairs, options_.end);
      result.converged = converged(solver, wanted);
      if (result.converged || !go_on || result.products >= options_.most_products) {
        result.pairs = pairs(solver, wanted);
        return result;
      }
      restart(solver);
      ++result.restarts;
    }
  }

 private:
  // Grows the basis until it is full, the space is invariant, or somebody says stop.
  bool fill(ThickRestartResult& result, const std::function<bool(std::int64_t)>& observe) {
    while (basis_.count() < basis_.capacity() && result.products < options_.most_products) {
      step();
      ++result.products;
      if (observe && !observe(result.products)) return false;
      if (residual_ <= floor()) return false;
    }
    return true;
  }

  // Projections on the whole basis are the new row and column of S, exact also after a restart.
  void step() {
    basis_.append(next_, 1.0);
    const auto place = basis_.count() - 1;
    a_.apply(basis_.vector(place), next_);
    const double norm = euclidean_norm(next_);
    require_input(std::isfinite(norm), "||A v|| is {}", norm);
    Eigen::VectorXd sum = Eigen::VectorXd::Zero(basis_.count());
    for (int pass = 0; pass < 2; ++pass) {
      const auto c = basis_.coefficients(next_);
      basis_.subtract(c, next_);
      sum += Eigen::Map<const Eigen::VectorXd>(c.data(), basis_.count());
      residual_ = euclidean_norm(next_);
      if (residual_ > kTakesAway * norm) break;
    }
    s_.block(0, place, basis_.count(), 1) = sum;
    s_.block(place, 0, 1, basis_.count()) = sum.transpose();
    scale_ = std::max(scale_, sum.cwiseAbs().maxCoeff());
    if (residual_ > 0.0) next_.div_(residual_);
  }

  double floor() const {
    const double rounding = a_.options().dtype() == at::kDouble ? 2.2e-16 : 1.2e-7;
    return kNoiseFactor * std::max(options_.noise, rounding) * scale_;
  }

  bool converged(const Solver& solver, const std::vector<Eigen::Index>& wanted) const {
    const double bound = std::max(options_.tolerance * scale_, floor());
    const auto last = basis_.count() - 1;
    return std::ranges::all_of(wanted, [&](Eigen::Index i) {
      return residual_ * std::abs(solver.eigenvectors()(last, i)) <= bound;
    });
  }

  // Keeps the wanted pairs and half of the room beside them: what comes next converges sooner.
  void restart(const Solver& solver) {
    const auto m = basis_.count();
    const auto wanted = options_.pairs * ends(options_.end);
    const auto beside = std::max<std::int64_t>(0, (m - wanted) / 2 - 1);
    const auto keep = options_.pairs + beside / ends(options_.end);
    auto places = outermost(m, keep, options_.end);
    std::ranges::sort(places);
    const auto count = static_cast<Eigen::Index>(places.size());
    Eigen::MatrixXd rotation(m, count);
    s_.setZero();
    for (Eigen::Index k = 0; k < count; ++k) {
      rotation.col(k) = solver.eigenvectors().col(places[static_cast<std::size_t>(k)]);
      s_(k, k) = solver.eigenvalues()[places[static_cast<std::size_t>(k)]];
    }
    basis_.rotate(rotation.data(), count);
  }

  std::vector<RitzPair> pairs(const Solver& solver, const std::vector<Eigen::Index>& wanted) const {
    std::vector<RitzPair> found;
    for (const auto i : wanted) {
      const Eigen::VectorXd y = solver.eigenvectors().col(i);
      RitzPair pair;
      pair.value = solver.eigenvalues()[i];
      pair.residual_bound = residual_ * std::abs(y[y.size() - 1]);
      pair.vector = basis_.combine({y.data(), y.data() + y.size()});
      pair.vector.div_(euclidean_norm(pair.vector));
      pair.residual = euclidean_norm(a_(pair.vector).sub_(pair.vector, pair.value));
      found.push_back(std::move(pair));
    }
    return found;
  }

  const LinearOperator& a_;
  const ThickRestartOptions options_;
  KrylovBasis basis_;
  at::Tensor next_;
  Eigen::MatrixXd s_;  // V^T A V
  double residual_ = 0.0;
  double scale_ = 0.0;
};

}  // namespace

ThickRestartResult thick_restart_eigenpairs(const LinearOperator& a, const at::Tensor& start,
                                            const ThickRestartOptions& options,
                                            const std::function<bool(std::int64_t)>& observe) {
  return ThickRestart(a, start, options).run(observe);
}

}  // namespace blockwise
