#include "hessian/thick_restart.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "hessian/saved_tensors.hpp"

namespace blockwise {
namespace {

constexpr double kTakesAway = 0.7071;  // of the norm: below that a pass is repeated
constexpr double kNoiseFactor = 16.0;

std::int64_t ends(SpectrumEnd end) { return end == SpectrumEnd::both ? 2 : 1; }

constexpr std::uint64_t kFurtherStart = std::uint64_t{1} << 45;  // no probe's number

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
    : a_(a),
      options_(options),
      basis_(a.rows(), eigenpair_basis(options, a.rows()), a.options()),
      next_(start.clone()),
      s_(Eigen::MatrixXd::Zero(basis_.capacity(), basis_.capacity())) {
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
      basis_.count() == a_.rows() || (converged_ && unchanged && is_next_behind(solver));
  ended_ = copies_found_ || products_ >= options_.most_products;
  if (ended_) return;
  if (invariant || (converged_ && !unchanged)) {
    start_again(solver);
  } else {
    restart(solver);
  }
}

ThickRestart::Solver ThickRestart::solve() const {
  return Solver(s_.topLeftCorner(basis_.count(), basis_.count()));
}

// Projections on the whole basis are the new row and column of S, exact also after a restart.
void ThickRestart::step() {
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

double ThickRestart::floor() const {
  const double rounding = a_.options().dtype() == at::kDouble ? 2.2e-16 : 1.2e-7;
  return kNoiseFactor * std::max(options_.noise, rounding) * scale_;
}

double ThickRestart::bound() const { return std::max(options_.tolerance * scale_, floor()); }

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
  s_.setZero();
  for (Eigen::Index k = 0; k < count; ++k) {
    const auto place = places[static_cast<std::size_t>(k)].index;
    rotation.col(k) = solver.eigenvectors().col(place);
    s_(k, k) = solver.eigenvalues()[place];
  }
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
  auto generator = make_generator(options_.seed, RandomStream::probe, kFurtherStart,
                                  static_cast<std::uint64_t>(starts_++));
  next_.copy_(at::randn({a_.rows()}, generator, at::kDouble));
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
    pair.residual_bound = residual_ * std::abs(y[y.size() - 1]);
    pair.vector = basis_.combine({y.data(), y.data() + y.size()});
    pair.vector.div_(euclidean_norm(pair.vector));
    pair.residual = euclidean_norm(a_(pair.vector).sub_(pair.vector, pair.value));
    // Of a pair from an earlier start the residual's bound is no longer known.
    pair.residual_bound = std::max(pair.residual_bound, starts_ > 1 ? pair.residual : 0.0);
    pair.converged = pair.residual <= 2.0 * bound();
    result.pairs.push_back(std::move(pair));
  }
  return result;
}

// ---- saving -------------------------------------------------------------------------------------

void ThickRestart::save(Hdf5File& file, const std::string& group) const {
  file.create_group(group);
  file.set_attribute(group, "rows", a_.rows());
  file.set_attribute(group, "capacity", basis_.capacity());
  file.set_attribute(group, "products", products_);
  file.set_attribute(group, "restarts", restarts_);
  file.set_attribute(group, "starts", starts_);
  file.set_attribute(group, "converged", std::int64_t{converged_});
  file.set_attribute(group, "copies_found", std::int64_t{copies_found_});
  file.set_attribute(group, "ended", std::int64_t{ended_});
  const double scales[] = {residual_, scale_};
  file.write_array(group + "/scales", std::span<const double>(scales), {2}, "1",
                   "norm of the residual, largest entry of S");
  const auto m = basis_.capacity();
  file.write_array(group + "/s", std::span<const double>(s_.data(), std::size_t(m * m)), {m, m},
                   "1", "projected operator");
  if (!found_.empty()) {
    file.write_array(group + "/found", std::span<const double>(found_), {std::ssize(found_)}, "1",
                     "the wanted pairs' values when the present start began");
  }
  write_tensor(file, group + "/basis", basis_.vectors(), "the vectors that are kept, one a row");
  write_tensor(file, group + "/next", next_, "the next vector");
}

void ThickRestart::load(const Hdf5File& file, const std::string& group) {
  expect_attribute(file, group, "rows", a_.rows());
  expect_attribute(file, group, "capacity", basis_.capacity());
  products_ = count_attribute(file, group, "products", options_.most_products);
  restarts_ = count_attribute(file, group, "restarts", products_);
  starts_ = count_attribute(file, group, "starts", products_ + 1);
  converged_ = file.integer_attribute(group, "converged") != 0;
  copies_found_ = file.integer_attribute(group, "copies_found") != 0;
  found_ = file.has(group + "/found") ? read_values(file, group + "/found") : std::vector<double>{};
  ended_ = file.integer_attribute(group, "ended") != 0;
  const auto scales = read_values(file, group + "/scales", 2);
  residual_ = scales[0];
  scale_ = scales[1];
  const auto m = static_cast<std::size_t>(basis_.capacity());
  file.read_array(group + "/s", std::span<double>(s_.data(), m * m));
  const auto basis = read_rows_like(file, group + "/basis", next_, basis_.capacity());
  require_input(!ended_ || basis.size(0) > 0, "{}: it has ended without a vector", group);
  basis_.truncate(0);
  for (std::int64_t i = 0; i < basis.size(0); ++i) basis_.append(basis.select(0, i), 1.0);
  read_into(file, group + "/next", next_);
}

}  // namespace blockwise
