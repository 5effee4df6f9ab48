#include "hessian/thick_restart.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/machine_epsilon.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

constexpr double kTakesAway = 0.7071;  // of the norm: below that a pass is repeated
constexpr double kNoiseFactor = 16.0;

std::int64_t ends(SpectrumEnd end) { return end == SpectrumEnd::both ? 2 : 1; }

bool are_near(const std::vector<double>& a, const std::vector<double>& b, double bound) {
  return std::ranges::equal(a, b, [bound](double x, double y) { return std::abs(x - y) <= bound; });
}

}  // namespace

std::int64_t eigenpair_basis(const EigenpairOptions& options, std::int64_t rows) {
  const auto wanted = options.pairs * ends(options.end);
  const auto size = options.basis > 0 ? options.basis : 2 * wanted + 10;
  require_input(options.pairs >= 1, "{} pairs, at least 1 is needed", options.pairs);
  require_input(wanted <= rows, "{} pairs of an operator with {} rows", wanted, rows);
  require_input(std::min(size, rows) >= std::min(wanted + 2, rows),
                "a basis of {} vectors for {} pairs, at least {} are needed", size, wanted,
                wanted + 2);
  return std::min(size, rows);
}

ThickRestart::ThickRestart(const LinearOperator& a, const at::Tensor& start,
                           const EigenpairOptions& options)
    : matrix_(a),
      options_(options),
      basis_(a.rows(), eigenpair_basis(options, a.rows()), a.options(), options.keepers),
      next_(start.clone()),
      projected_(Eigen::MatrixXd::Zero(basis_.capacity(), basis_.capacity())) {
  require_input(a.symmetric(), "Lanczos needs a symmetric operator");
  const double length = euclidean_norm(next_);
  require_input(length > 0.0 && std::isfinite(length), "a Lanczos start of norm {}", length);
  next_.div_(length);
}

bool ThickRestart::run(const std::function<bool(std::int64_t)>& observe) {
  while (!ended_) {
    if (!wants_product()) {
      examine();
      continue;
    }
    step();
    ++products_;
    if (observe && !observe(products_)) return false;
  }
  return true;
}

// The basis has room, the space is not invariant yet, and products are left.
bool ThickRestart::wants_product() const {
  const bool invariant = products_ > 0 && residual_ <= floor();
  return basis_.count() < basis_.capacity() && products_ < options_.most_products && !invariant;
}

void ThickRestart::examine() {
  const auto solver = solve();
  const bool invariant = residual_ <= floor();
  converged_ = has_converged(solver);
  const bool unchanged = starts_ > 1 && are_near(found_, wanted_values(solver), bound());
  copies_found_ =
      basis_.count() == matrix_.rows() || (converged_ && unchanged && is_next_behind(solver));
  ended_ = copies_found_ || products_ >= options_.most_products;
  if (ended_) return;
  if (invariant || (converged_ && !unchanged)) {
    start_again(solver);
  } else {
    restart(solver);
  }
}

// S y = theta y on the basis so far.
ThickRestart::Solver ThickRestart::solve() const {
  return Solver(projected_.topLeftCorner(basis_.count(), basis_.count()));
}

// Projections on the whole basis are the new row and column of S, exact also after a restart.
void ThickRestart::step() {
  // V <- [V v], w = A v
  basis_.append(next_, 1.0);
  const auto place = basis_.count() - 1;
  matrix_.apply(basis_.vector(place), next_);
  const double norm = euclidean_norm(next_);
  require_input(std::isfinite(norm), "||A v|| is {}", norm);
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(basis_.count());
  for (int pass = 0; pass < 2; ++pass) {
    // c = V^T w,  w <- w - V c;  over both passes the sum of c is V^T A v.
    const auto c = basis_.coefficients(next_);
    basis_.subtract(c, next_);
    sum += Eigen::Map<const Eigen::VectorXd>(c.data(), basis_.count());
    // ||r||, of A V = V S + r e_m^T
    residual_ = euclidean_norm(next_);
    if (residual_ > kTakesAway * norm) break;
  }
  // S gets V^T A v as its last column and row.
  projected_.block(0, place, basis_.count(), 1) = sum;
  projected_.block(place, 0, 1, basis_.count()) = sum.transpose();
  // max |S_ij| so far stands for ||S||; the next v is r / ||r||.
  scale_ = std::max(scale_, sum.cwiseAbs().maxCoeff());
  if (residual_ > 0.0) next_.div_(residual_);
}

// Of a residual: what noise alone leaves of it.
double ThickRestart::floor() const {
  return kNoiseFactor * std::max(options_.noise, machine_epsilon(matrix_.options())) * scale_;
}

double ThickRestart::bound() const { return std::max(options_.tolerance * scale_, floor()); }

// ||A V y - theta V y|| = ||r|| |y_m| is within the bound for every wanted pair.
bool ThickRestart::has_converged(const Solver& solver) const {
  const auto last = basis_.count() - 1;
  return std::ranges::all_of(
      outermost_places(basis_.count(), options_.pairs, options_.end), [&](const auto& wanted) {
        return residual_ * std::abs(solver.eigenvectors()(last, wanted.index)) <= bound();
      });
}

std::vector<double> ThickRestart::wanted_values(const Solver& solver) const {
  std::vector<double> values;
  for (const auto& wanted : outermost_places(basis_.count(), options_.pairs, options_.end)) {
    values.push_back(solver.eigenvalues()[wanted.index]);
  }
  return values;
}

// The pairs behind the wanted ones.
bool ThickRestart::is_next_behind(const Solver& solver) const {
  const auto k = options_.pairs;
  int known = 0;
  for (const auto& pair : outermost_places(basis_.count(), k + 1, options_.end)) {
    if (pair.place != k && pair.place != -1 - k) continue;
    // |theta_before - theta|, from the last wanted pair, and ||r|| |y_m| of the one behind it.
    const auto before = pair.place == k ? pair.index + 1 : pair.index - 1;
    const double distance =
        std::abs(solver.eigenvalues()[before] - solver.eigenvalues()[pair.index]);
    const double residual =
        residual_ * std::abs(solver.eigenvectors()(basis_.count() - 1, pair.index));
    if (residual > std::max(distance, bound())) return false;
    ++known;
  }
  return known == ends(options_.end);
}

// Rotates the basis to Ritz vectors, of which `at_each_end` stay.
void ThickRestart::keep(const Solver& solver, std::int64_t at_each_end) {
  const auto m = basis_.count();
  auto places = outermost_places(m, at_each_end, options_.end);
  std::ranges::sort(places, {}, &RitzPlace::index);
  const auto count = static_cast<Eigen::Index>(places.size());
  Eigen::MatrixXd rotation(m, count);
  projected_.setZero();
  for (Eigen::Index k = 0; k < count; ++k) {
    const auto place = places[static_cast<std::size_t>(k)].index;
    // Columns y_k of the rotation;  S becomes diag(theta_k).
    rotation.col(k) = solver.eigenvectors().col(place);
    projected_(k, k) = solver.eigenvalues()[place];
  }
  // V <- V [y_1 .. y_count]
  basis_.rotate(rotation.data(), count);
}

// Keeps the wanted pairs and half of the room beside them: what comes next converges sooner.
void ThickRestart::restart(const Solver& solver) {
  const auto wanted = options_.pairs * ends(options_.end);
  const auto beside = std::max<std::int64_t>(0, (basis_.count() - wanted) / 2 - 1);
  keep(solver, options_.pairs + beside / ends(options_.end));
  ++restarts_;
}

// The wanted pairs and a random vector orthogonal to them.
void ThickRestart::start_again(const Solver& solver) {
  found_ = wanted_values(solver);
  keep(solver, options_.pairs);
  const auto generator = probe_generator(options_.seed, ProbePlace::further_start,
                                         static_cast<std::uint64_t>(starts_++));
  next_.copy_(gaussian(matrix_.rows(), generator, at::kDouble));
  // v <- (I - V V^T) v / ||.||, twice for orthogonality to rounding.
  for (int pass = 0; pass < 2; ++pass) {
    basis_.subtract(basis_.coefficients(next_), next_);
    next_.div_(euclidean_norm(next_));
  }
  residual_ = scale_ + 1.0;  // not that of an invariant space
}

EigenpairResult ThickRestart::result() const {
  EigenpairResult result{{}, converged_, products_, restarts_, copies_found_};
  const auto solver = solve();
  for (const auto& [i, place] : outermost_places(basis_.count(), options_.pairs, options_.end)) {
    const Eigen::VectorXd y = solver.eigenvectors().col(i);
    RitzPair pair;
    pair.place = place;
    pair.value = solver.eigenvalues()[i];
    // ||r|| |y_m|, the vector V y, and ||A V y - theta V y|| by a product of its own.
    pair.residual_bound = residual_ * std::abs(y[y.size() - 1]);
    pair.vector = basis_.combine({y.data(), y.data() + y.size()});
    pair.vector.div_(euclidean_norm(pair.vector));
    pair.residual = euclidean_norm(matrix_(pair.vector).sub_(pair.vector, pair.value));
    // Of a pair from an earlier start the residual's bound is no longer known.
    pair.residual_bound = std::max(pair.residual_bound, starts_ > 1 ? pair.residual : 0.0);
    pair.converged = pair.residual <= 2.0 * bound();
    result.pairs.push_back(std::move(pair));
  }
  return result;
}

// ---- saving -------------------------------------------------------------------------------------

void ThickRestart::save(const StateWriter& state) const {
  state.number("rows", matrix_.rows());
  state.number("capacity", basis_.capacity());
  state.number("products", products_);
  state.number("restarts", restarts_);
  state.number("starts", starts_);
  state.number("converged", std::int64_t{converged_});
  state.number("copies_found", std::int64_t{copies_found_});
  state.number("ended", std::int64_t{ended_});
  write_values(state, "scales", {residual_, scale_}, "norm of the residual, largest entry of S");
  const auto m = basis_.capacity();
  const auto s = at::from_blob(const_cast<double*>(projected_.data()), {m, m}, at::kDouble);
  state.array("s", s, "projected operator");
  if (!found_.empty()) {
    write_values(state, "found", found_, "the wanted pairs' values when the present start began");
  }
  basis_.save(state);
  state.array("next", next_, "the next vector");
}

void ThickRestart::load(const StateReader& state) {
  expect_number(state, "rows", matrix_.rows());
  expect_number(state, "capacity", basis_.capacity());
  products_ = read_count(state, "products", options_.most_products);
  restarts_ = read_count(state, "restarts", products_);
  starts_ = read_count(state, "starts", products_ + 1);
  converged_ = state.number("converged") != 0;
  copies_found_ = state.number("copies_found") != 0;
  found_ = state.has_array("found") ? read_values(state, "found") : std::vector<double>{};
  ended_ = state.number("ended") != 0;
  const auto scales = read_values(state, "scales", 2);
  residual_ = scales[0];
  scale_ = scales[1];
  const auto m = basis_.capacity();
  read_into(state, "s", at::from_blob(projected_.data(), {m, m}, at::kDouble));
  basis_.load(state);
  require_input(!ended_ || basis_.count() > 0, "{}: it has ended without a vector", state.place());
  read_into(state, "next", next_);
}

}  // namespace blockwise
