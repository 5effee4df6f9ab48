#include "hessian/lanczos.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/machine_epsilon.hpp"

namespace blockwise {
namespace {

constexpr double kTakesAway = 0.7071;   // of the norm: below that a pass is repeated
constexpr double kBreakdown = 16.0;     // times the noise
constexpr double kProductNoise = 16.0;  // a product's rounding, in units of the dtype's

// max |T_ij|, which is within a factor of 3 of ||T||.
double scale_of(const Tridiagonal& t) {
  double largest = 0.0;
  for (std::size_t i = 0; i < t.alpha.size(); ++i) {
    largest = std::max({largest, std::abs(t.alpha[i]), i + 1 < t.beta.size() ? t.beta[i] : 0.0});
  }
  return largest;
}

struct SmallSystem {
  Eigen::VectorXd values;
  Eigen::MatrixXd vectors;
};

// T s = theta s, with theta ascending and s of unit norm.
SmallSystem solve(const Tridiagonal& t) {
  const auto m = static_cast<Eigen::Index>(t.alpha.size());
  Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver;
  const Eigen::Map<const Eigen::VectorXd> alpha(t.alpha.data(), m);
  const Eigen::Map<const Eigen::VectorXd> beta(t.beta.data(), std::max<Eigen::Index>(0, m - 1));
  solver.computeFromTridiagonal(alpha, beta);
  return {solver.eigenvalues(), solver.eigenvectors()};
}

std::vector<double> column(const Eigen::MatrixXd& matrix, Eigen::Index j) {
  return {matrix.col(j).data(), matrix.col(j).data() + matrix.rows()};
}

std::int64_t room(const LanczosOptions& options) {
  return std::max(options.steps, options.most_steps);
}

}  // namespace

std::vector<RitzPlace> outermost_places(std::int64_t count, std::int64_t k, SpectrumEnd end) {
  std::vector<RitzPlace> found;
  for (std::int64_t i = 0; i < std::min(k, count); ++i) {
    const bool twice = end == SpectrumEnd::both && i >= count - 1 - i;
    if (end != SpectrumEnd::smallest && (!twice || i == count - 1 - i)) {
      found.push_back({count - 1 - i, i});
    }
    if (end != SpectrumEnd::largest && !twice) found.push_back({i, -1 - i});
  }
  return found;
}

double convergence_bound(double tolerance, double noise, double scale) {
  return std::max(tolerance, kBreakdown * noise) * scale;
}

RitzValues ritz_values(const Tridiagonal& t) {
  const auto system = solve(t);
  const auto m = system.values.size();
  RitzValues ritz;
  for (Eigen::Index i = 0; i < m; ++i) {
    // theta_i, omega_i = s_1i^2 of the Gauss rule, and the bound |beta_m s_mi|.
    ritz.values.push_back(system.values[i]);
    ritz.first.push_back(system.vectors(0, i) * system.vectors(0, i));
    ritz.last.push_back(std::abs(t.beta.back() * system.vectors(m - 1, i)));
  }
  return ritz;
}

Lanczos::Lanczos(const LinearOperator& a, const at::Tensor& start, const LanczosOptions& options)
    : matrix_(a),
      options_(options),
      basis_(a.rows(), options.reorthogonalisation == Reorthogonalisation::none ? 2 : room(options),
             a.options(),
             options.reorthogonalisation == Reorthogonalisation::none ? nullptr : options.keepers),
      next_(start.clone()) {
  require_input(a.symmetric(), "Lanczos needs a symmetric operator");
  require_input(options.steps >= 1 && room(options) <= a.rows(),
                "{} Lanczos steps on an operator of {} rows, allowed are 1 to {}", room(options),
                a.rows(), a.rows());
  // q_1 = start / ||start||
  const double length = euclidean_norm(next_);
  require_input(length > 0.0 && std::isfinite(length), "a Lanczos start of norm {}", length);
  next_.div_(length);
}

double Lanczos::noise() const {
  return std::max(options_.noise, kProductNoise * machine_epsilon(matrix_.options()));
}

// w <- w - Q Q^T w, again where a pass has taken most of the norm away. Components
// below the rounding of w are what any subtraction leaves: they stay, and their vectors are not
// read a second time.
void Lanczos::orthogonalise(const at::Tensor& w) {
  double norm = euclidean_norm(w);
  for (int pass = 0; pass < 2; ++pass) {
    const double before = norm;
    // c = Q^T w, of which |c_i| <= eps ||w|| is rounding.
    auto c = basis_.coefficients(w);
    const double floor = machine_epsilon(matrix_.options()) * norm;
    for (double& component : c) component = std::abs(component) > floor ? component : 0.0;
    // w <- w - Q c
    basis_.subtract(c, w);
    norm = euclidean_norm(w);
    if (norm > kTakesAway * before) return;
  }
}

// Only along Ritz vectors that have converged to sqrt(eps): that is where orthogonality is lost.
// They are never formed: for Y = Q S, w - Y Y^T w = w - Q (S S^T (Q^T w)).
void Lanczos::orthogonalise_selectively(const at::Tensor& w) {
  if (steps() < 2) return;
  const auto system = solve(tridiagonal_);
  const double converged = std::sqrt(machine_epsilon(matrix_.options())) * scale_of(tridiagonal_);
  std::vector<Eigen::Index> which;
  for (Eigen::Index i = 0; i < system.values.size(); ++i) {
    // beta_m |s_mi| <= sqrt(eps) ||T||: the Ritz vector y = Q s_i has converged.
    const auto last = std::abs(system.vectors(system.vectors.rows() - 1, i));
    if (tridiagonal_.beta.back() * last <= converged) which.push_back(i);
  }
  if (which.empty()) return;
  const auto coefficients = basis_.coefficients(w);
  const Eigen::Map<const Eigen::VectorXd> c(coefficients.data(), std::ssize(coefficients));
  Eigen::VectorXd along = Eigen::VectorXd::Zero(c.size());
  for (const auto i : which) along += system.vectors.col(i) * system.vectors.col(i).dot(c);
  basis_.subtract({along.data(), along.data() + along.size()}, w);
}

const at::Tensor& Lanczos::direction() {
  if (newest_.defined()) return newest_;
  if (basis_.count() == basis_.capacity()) {  // without a basis: the older of the two goes
    basis_.vector(0).copy_(basis_.vector(1));
    basis_.truncate(1);
  }
  // q_j, of unit norm since receive() divided by beta_{j-1}.
  basis_.append(next_, 1.0);
  newest_ = basis_.vector(basis_.count() - 1);
  return newest_;
}

// Step j, with w in next_:  beta_j q_{j+1} = A q_j - beta_{j-1} q_{j-1} - alpha_j q_j.
void Lanczos::receive(const at::Tensor& product) {
  check_equal(newest_.defined(), true, "a direction was asked for");
  // w = A q_j
  if (!product.is_same(next_)) next_.copy_(product);
  const auto q = std::exchange(newest_, at::Tensor());
  // w <- w - beta_{j-1} q_{j-1}: before alpha_j, so that its rounding is taken away with it
  // (Paige).
  if (!tridiagonal_.beta.empty())
    next_.sub_(basis_.vector(basis_.count() - 2), tridiagonal_.beta.back());
  // alpha_j = q_j^T w
  const double alpha = inner_product(q, next_);
  require_input(std::isfinite(alpha), "step {} of Lanczos: q^T A q is {}", steps() + 1, alpha);
  // w <- w - alpha_j q_j
  next_.sub_(q, alpha);
  tridiagonal_.alpha.push_back(alpha);
  // w <- (I - Q Q^T) w, which is w itself in exact arithmetic.
  if (options_.reorthogonalisation == Reorthogonalisation::full) orthogonalise(next_);
  // beta_j = ||w||
  tridiagonal_.beta.push_back(euclidean_norm(next_));
  if (options_.reorthogonalisation == Reorthogonalisation::selective) {
    // w <- (I - Y Y^T) w, Y the converged Ritz vectors, which beta_j itself decides.
    orthogonalise_selectively(next_);
    tridiagonal_.beta.back() = euclidean_norm(next_);
  }
  // beta_j = 0 up to noise: span Q is invariant, A Q = Q T.
  broke_down_ = tridiagonal_.beta.back() <=
                kBreakdown * noise() * std::max(scale_of(tridiagonal_), tridiagonal_.beta.back());
  // q_{j+1} = w / beta_j
  if (!broke_down_) next_.div_(tridiagonal_.beta.back());
}

void Lanczos::extend(std::int64_t steps) {
  options_.most_steps = room(options_);
  options_.steps = std::min(steps, options_.most_steps);
}

std::int64_t Lanczos::run(const std::function<bool(std::int64_t)>& observe) {
  while (!done()) {
    matrix_.apply(direction(), next_);
    receive(next_);
    if (observe && !observe(steps())) break;
  }
  return steps();
}

std::vector<RitzPair> Lanczos::pairs(std::int64_t k, SpectrumEnd end, Residuals residuals,
                                     double tolerance, Vectors vectors) const {
  const bool keeps_basis = options_.reorthogonalisation != Reorthogonalisation::none;
  const auto system = solve(tridiagonal_);
  const double bound = convergence_bound(tolerance, noise(), system.values.cwiseAbs().maxCoeff());
  std::vector<RitzPair> pairs;
  for (const auto& [i, place] : outermost_places(system.values.size(), k, end)) {
    RitzPair pair;
    pair.place = place;
    // ||A y - theta y|| = |beta_m s_mi| for y = Q s, as A Q = Q T + beta_m q_{m+1} e_m^T.
    pair.value = system.values[i];
    pair.residual_bound =
        std::abs(tridiagonal_.beta.back() * system.vectors(system.vectors.rows() - 1, i));
    if (keeps_basis) {
      // y = Q s / ||Q s||, and its residual by a product of its own.
      pair.vector = basis_.combine(column(system.vectors, i));
      pair.vector.div_(euclidean_norm(pair.vector));
      if (residuals == Residuals::computed)
        pair.residual = euclidean_norm(matrix_(pair.vector).sub_(pair.vector, pair.value));
      if (vectors == Vectors::dropped) pair.vector.reset();
    }
    pair.converged = std::max(pair.residual_bound, pair.residual) <= bound;
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

// ---- several ------------------------------------------------------------------------------------

void run_in_lockstep(const std::vector<Lanczos*>& processes, const LockstepProducts& multiply,
                     const std::function<bool(std::int64_t)>& observe) {
  for (std::int64_t round = 1;; ++round) {
    std::vector<std::size_t> which;
    std::vector<at::Tensor> directions, products;
    for (std::size_t i = 0; i < processes.size(); ++i) {
      if (processes[i]->done()) continue;
      which.push_back(i);
      directions.push_back(processes[i]->direction());
      products.push_back(processes[i]->product());
    }
    if (which.empty()) return;
    multiply(which, directions, products);
    for (std::size_t k = 0; k < which.size(); ++k) processes[which[k]]->receive(products[k]);
    if (observe && !observe(round)) return;
  }
}

// ---- saving -------------------------------------------------------------------------------------

void Lanczos::save(const StateWriter& state) const {
  check_equal(newest_.defined(), false, "a product of the process is under way");
  state.number("rows", matrix_.rows());
  state.number("reorthogonalisation", static_cast<std::int64_t>(options_.reorthogonalisation));
  state.number("broke_down", std::int64_t{broke_down_});
  write_values(state, "alpha", tridiagonal_.alpha, "diagonal of T");
  write_values(state, "beta", tridiagonal_.beta, "beside it");
  basis_.save(state);
  state.array("next", next_, "the next vector");
}

namespace {

// As many as the diagonal of T has numbers.
std::int64_t saved_steps(const StateReader& state, std::int64_t most) {
  const auto shape = state.shape("alpha");
  require_input(shape.size() == 1 && shape[0] >= 0 && shape[0] <= most,
                "{}: [{}] numbers, this process has up to {} steps", state.place_of("alpha"),
                fmt::join(shape, ", "), most);
  return shape[0];
}

}  // namespace

void Lanczos::load(const StateReader& state) {
  expect_number(state, "rows", matrix_.rows());
  expect_number(state, "reorthogonalisation",
                static_cast<std::int64_t>(options_.reorthogonalisation));
  const auto steps = saved_steps(state, room(options_));
  basis_.load(state);
  // One vector per step where all are kept; the last two otherwise.
  const bool whole = options_.reorthogonalisation != Reorthogonalisation::none;
  require_input(basis_.count() == (whole ? steps : std::min<std::int64_t>(steps, 2)),
                "{}: {} vectors after {} steps", state.place(), basis_.count(), steps);
  read_into(state, "next", next_);
  tridiagonal_ = {read_values(state, "alpha", steps), read_values(state, "beta", steps)};
  broke_down_ = state.number("broke_down") != 0;
}

}  // namespace blockwise
