#include "hessian/lanczos.hpp"

#include <ATen/ATen.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.hpp"
#include "hessian/saved_tensors.hpp"

namespace blockwise {
namespace {

constexpr double kTakesAway = 0.7071;   // of the norm: below that a pass is repeated
constexpr double kBreakdown = 16.0;     // times the noise
constexpr double kProductNoise = 16.0;  // a product's rounding, in units of the dtype's

double rounding(const at::TensorOptions& options) {
  return options.dtype() == at::kDouble ? 2.2e-16 : 1.2e-7;
}

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
    ritz.values.push_back(system.values[i]);
    ritz.first.push_back(system.vectors(0, i) * system.vectors(0, i));
    ritz.last.push_back(std::abs(t.beta.back() * system.vectors(m - 1, i)));
  }
  return ritz;
}

Lanczos::Lanczos(const LinearOperator& a, const at::Tensor& start, const LanczosOptions& options)
    : a_(a),
      options_(options),
      basis_(a.rows(), options.reorthogonalisation == Reorthogonalisation::none ? 2 : room(options),
             a.options()),
      next_(start.clone()) {
  require_input(a.symmetric(), "Lanczos needs a symmetric operator");
  require_input(options.steps >= 1 && room(options) <= a.rows(),
                "{} Lanczos steps on an operator of {} rows, allowed are 1 to {}", room(options),
                a.rows(), a.rows());
  const double length = euclidean_norm(next_);
  require_input(length > 0.0 && std::isfinite(length), "a Lanczos start of norm {}", length);
  next_.div_(length);
}

double Lanczos::noise() const {
  return std::max(options_.noise, kProductNoise * rounding(a_.options()));
}

// w <- w - Q Q^T w, again where a pass has taken most of the norm away. Components
// below the rounding of w are what any subtraction leaves: they stay, and their vectors are not
// read a second time.
void Lanczos::orthogonalise(const at::Tensor& w) {
  double norm = euclidean_norm(w);
  for (int pass = 0; pass < 2; ++pass) {
    const double before = norm;
    auto c = basis_.coefficients(w);
    const double floor = rounding(a_.options()) * norm;
    for (double& component : c) component = std::abs(component) > floor ? component : 0.0;
    basis_.subtract(c, w);
    norm = euclidean_norm(w);
    if (norm > kTakesAway * before) return;
  }
}

// Only along Ritz vectors that have converged to sqrt(eps): that is where orthogonality is lost.
void Lanczos::orthogonalise_selectively(const at::Tensor& w) {
  if (steps() < 2) return;
  const auto system = solve(t_);
  const double converged = std::sqrt(rounding(a_.options())) * scale_of(t_);
  for (Eigen::Index i = 0; i < system.values.size(); ++i) {
    const auto last = std::abs(system.vectors(system.vectors.rows() - 1, i));
    if (t_.beta.back() * last > converged) continue;
    const auto ritz = basis_.combine(column(system.vectors, i));
    w.sub_(ritz, inner_product(ritz, w) / inner_product(ritz, ritz));
  }
}

const at::Tensor& Lanczos::direction() {
  if (newest_.defined()) return newest_;
  if (basis_.count() == basis_.capacity()) {  // without a basis: the older of the two goes
    basis_.vector(0).copy_(basis_.vector(1));
    basis_.truncate(1);
  }
  basis_.append(next_, 1.0);
  newest_ = basis_.vector(basis_.count() - 1);
  return newest_;
}

void Lanczos::receive(const at::Tensor& product) {
  check_equal(newest_.defined(), true, "a direction was asked for");
  if (!product.is_same(next_)) next_.copy_(product);
  const auto q = std::exchange(newest_, at::Tensor());
  if (!t_.beta.empty()) next_.sub_(basis_.vector(basis_.count() - 2), t_.beta.back());
  const double alpha = inner_product(q, next_);
  require_input(std::isfinite(alpha), "step {} of Lanczos: q^T A q is {}", steps() + 1, alpha);
  next_.sub_(q, alpha);
  t_.alpha.push_back(alpha);
  if (options_.reorthogonalisation == Reorthogonalisation::full) orthogonalise(next_);
  t_.beta.push_back(euclidean_norm(next_));
  if (options_.reorthogonalisation == Reorthogonalisation::selective) {
    orthogonalise_selectively(next_);
    t_.beta.back() = euclidean_norm(next_);
  }
  broke_down_ = t_.beta.back() <= kBreakdown * noise() * std::max(scale_of(t_), t_.beta.back());
  if (!broke_down_) next_.div_(t_.beta.back());
}

void Lanczos::extend(std::int64_t steps) {
  options_.most_steps = room(options_);
  options_.steps = std::min(steps, options_.most_steps);
}

std::int64_t Lanczos::run(const std::function<bool(std::int64_t)>& observe) {
  while (!done()) {
    a_.apply(direction(), next_);
    receive(next_);
    if (observe && !observe(steps())) break;
  }
  return steps();
}

std::vector<RitzPair> Lanczos::pairs(std::int64_t k, SpectrumEnd end, bool confirm,
                                     double tolerance) const {
  const bool keeps_basis = options_.reorthogonalisation != Reorthogonalisation::none;
  const auto system = solve(t_);
  const double bound = convergence_bound(tolerance, noise(), system.values.cwiseAbs().maxCoeff());
  std::vector<RitzPair> pairs;
  for (const auto& [i, place] : outermost_places(system.values.size(), k, end)) {
    RitzPair pair;
    pair.place = place;
    pair.value = system.values[i];
    pair.residual_bound = std::abs(t_.beta.back() * system.vectors(system.vectors.rows() - 1, i));
    if (keeps_basis) {
      pair.vector = basis_.combine(column(system.vectors, i));
      pair.vector.div_(euclidean_norm(pair.vector));
      if (confirm) pair.residual = euclidean_norm(a_(pair.vector).sub_(pair.vector, pair.value));
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

void Lanczos::save(Hdf5File& file, const std::string& group) const {
  const auto m = steps();
  check_equal(newest_.defined(), false, "a product of the process is under way");
  file.create_group(group);
  file.set_attribute(group, "rows", a_.rows());
  file.set_attribute(group, "reorthogonalisation",
                     static_cast<std::int64_t>(options_.reorthogonalisation));
  file.set_attribute(group, "broke_down", std::int64_t{broke_down_});
  file.write_array(group + "/alpha", std::span<const double>(t_.alpha), {m}, "1", "diagonal of T");
  file.write_array(group + "/beta", std::span<const double>(t_.beta), {m}, "1", "beside it");
  write_tensor(file, group + "/basis", basis_.vectors(), "the vectors that are kept, one a row");
  write_tensor(file, group + "/next", next_, "the next vector");
}

namespace {

// As many as the diagonal of T has numbers.
std::int64_t saved_steps(const Hdf5File& file, const std::string& group, std::int64_t most) {
  const auto shape = file.array_shape(group + "/alpha");
  require_input(shape.size() == 1 && shape[0] >= 0 && shape[0] <= most,
                "{}/alpha: [{}] numbers, this process has up to {} steps", group,
                fmt::join(shape, ", "), most);
  return shape[0];
}

}  // namespace

void Lanczos::load(const Hdf5File& file, const std::string& group) {
  expect_attribute(file, group, "rows", a_.rows());
  expect_attribute(file, group, "reorthogonalisation",
                   static_cast<std::int64_t>(options_.reorthogonalisation));
  const auto steps = saved_steps(file, group, room(options_));
  const auto basis = read_rows_like(file, group + "/basis", next_, basis_.capacity());
  // One vector per step where all are kept; the last two otherwise.
  const bool whole = options_.reorthogonalisation != Reorthogonalisation::none;
  require_input(basis.size(0) == (whole ? steps : std::min<std::int64_t>(steps, 2)),
                "{}/basis: {} vectors after {} steps", group, basis.size(0), steps);
  basis_.truncate(0);
  for (std::int64_t i = 0; i < basis.size(0); ++i) basis_.append(basis.select(0, i), 1.0);
  read_into(file, group + "/next", next_);
  t_ = {read_values(file, group + "/alpha", steps), read_values(file, group + "/beta", steps)};
  broke_down_ = file.integer_attribute(group, "broke_down") != 0;
}

void save_lanczos(const std::filesystem::path& path,
                  const std::vector<std::pair<std::string, const Lanczos*>>& processes) {
  save_state(path, [&](Hdf5File& file) {
    for (const auto& [name, process] : processes) process->save(file, "/" + name);
  });
}

}  // namespace blockwise
