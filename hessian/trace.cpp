#include "hessian/trace.hpp"

#include <ATen/ATen.h>

#include <Eigen/Dense>
#include <cmath>

#include "core/base/error.hpp"
#include "hessian/bounded_bias.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

at::Tensor sign_probe(const LinearOperator& a, std::uint64_t seed, std::int64_t index) {
  return signs(a.columns(), seed, index).to(a.options());
}

double double_product(const at::Tensor& x, const at::Tensor& y) {
  return x.to(at::kDouble).dot(y.to(at::kDouble)).item<double>();
}

// A decision on the error of few samples is a decision on luck: ten at least.
constexpr std::int64_t kFewest = 10;

bool good_enough(const RunningMean& mean, double offset, const SamplingPlan& plan) {
  return plan.relative_error > 0.0 && mean.count() >= kFewest &&
         mean.standard_error() <= plan.relative_error * std::abs(mean.mean() + offset);
}

void require_products(const SamplingPlan& plan, std::int64_t fewest) {
  require_input(plan.products >= fewest, "{} products, at least {} are needed", plan.products,
                fewest);
}

Estimate estimate_of(const SampleMean& found) {
  return {found.mean, found.standard_error, found.count, found.count, found.skewness};
}

// Mean of sample(z) over probes.
template <typename Sample>
RunningMean mean_over_probes(const LinearOperator& a, const SamplingPlan& plan,
                             const Sample& sample) {
  require_products(plan, 1);
  RunningMean mean;
  while (mean.count() < plan.products && !good_enough(mean, 0.0, plan)) {
    mean.add(sample(sign_probe(a, plan.seed, mean.count())));
  }
  return mean;
}

// Orthonormal columns that span those of y [n, k].
at::Tensor orthonormal(const at::Tensor& y) { return std::get<0>(at::linalg_qr(y)); }

// [n, k] in float64 on the CPU: A times the probes first .. first + k - 1, and the probes.
std::pair<at::Tensor, at::Tensor> sketch(const LinearOperator& a, std::uint64_t seed,
                                         std::int64_t first, std::int64_t k) {
  std::vector<at::Tensor> products, probes;
  for (std::int64_t i = 0; i < k; ++i) {
    const auto z = sign_probe(a, seed, first + i);
    probes.push_back(z.to(at::kCPU, at::kDouble));
    products.push_back(a(z).to(at::kCPU, at::kDouble));
  }
  return {at::stack(products, 1), at::stack(probes, 1)};
}

// A times the columns of q.
at::Tensor times(const LinearOperator& a, const at::Tensor& q) {
  std::vector<at::Tensor> columns;
  for (std::int64_t i = 0; i < q.size(1); ++i) {
    columns.push_back(a(q.select(1, i).to(a.options())).to(at::kCPU, at::kDouble));
  }
  return at::stack(columns, 1);
}

// The same for every element of a vector.
class RunningVectorMean {
 public:
  explicit RunningVectorMean(std::int64_t size)
      : mean_(at::zeros({size}, at::kDouble)), squares_(at::zeros({size}, at::kDouble)) {}

  void add(const at::Tensor& sample) {
    const auto x = sample.to(at::kCPU, at::kDouble);
    // d = x - m;  m <- m + d / n;  M2 <- M2 + d (x - m)
    const auto delta = x - mean_;
    mean_.add_(delta, 1.0 / static_cast<double>(++count_));
    squares_.addcmul_(delta, x - mean_);
  }
  std::int64_t count() const { return count_; }
  VectorEstimate estimate() const {
    // sqrt(M2 / (n - 1) / n)
    const auto n = static_cast<double>(count_);
    return {mean_, (squares_ / (std::max(1.0, n - 1.0) * n)).sqrt(), count_};
  }
  bool wants_more(const SamplingPlan& plan) const {
    if (count_ >= plan.products) return false;
    if (plan.relative_error <= 0.0 || count_ < kFewest) return true;
    return estimate().relative_error() > plan.relative_error;
  }

 private:
  std::int64_t count_ = 0;
  at::Tensor mean_, squares_;
};

template <typename Sample>
VectorEstimate vector_mean(const LinearOperator& a, const SamplingPlan& plan,
                           const Sample& sample) {
  require_products(plan, 2);
  RunningVectorMean mean(a.rows());
  while (mean.wants_more(plan)) mean.add(sample(sign_probe(a, plan.seed, mean.count())));
  return mean.estimate();
}

}  // namespace

Interval Estimate::interval(double confidence) const {
  if (samples > 1 && standard_error > 0.0) {
    confidence = confidence_beside_bounds((below + above) / standard_error,
                                          static_cast<double>(samples - 1), confidence);
  }
  const auto found = SampleMean{samples, value, standard_error, skewness}.interval(confidence);
  return {found.low - below, found.high + above};
}

double VectorEstimate::relative_error() const {
  return (standard_error.norm() / value.norm()).item<double>();
}

Estimate hutchinson_trace(const LinearOperator& a, const SamplingPlan& plan) {
  // E z^T A z = tr A
  return estimate_of(mean_over_probes(a, plan, [&](const at::Tensor& z) {
                       return double_product(z, a(z));
                     }).result());
}

Estimate squared_frobenius_norm(const LinearOperator& a, const SamplingPlan& plan) {
  // E ||A z||^2 = tr A^T A = ||A||_F^2
  const auto mean = mean_over_probes(a, plan, [&](const at::Tensor& z) {
    const auto y = a(z);
    return double_product(y, y);
  });
  return estimate_of(mean.result_of_squares());
}

namespace {

TraceAndNorm hutchinson(const LinearOperator& a, const SamplingPlan& plan) {
  RunningMean norm;
  const auto trace = mean_over_probes(a, plan, [&](const at::Tensor& z) {
    const auto y = a(z);
    norm.add(double_product(y, y));
    return double_product(z, y);
  });
  return {estimate_of(trace.result()), estimate_of(norm.result_of_squares())};
}

// From ||y||^2 of the columns of y [n, k].
Estimate norm_of_columns(const at::Tensor& y) {
  RunningMean norm;
  for (std::int64_t i = 0; i < y.size(1); ++i) {
    norm.add(y.select(1, i).square().sum().item<double>());
  }
  return estimate_of(norm.result_of_squares());
}

TraceAndNorm hutch_plus_plus(const LinearOperator& a, const SamplingPlan& plan) {
  require_products(plan, 6);
  const auto k = std::min(plan.products / 3, a.rows());
  // Y = A Z for a third of the products, Q = orth(Y)
  const auto y = sketch(a, plan.seed, 0, k).first;
  const auto q = orthonormal(y);
  // tr(Q^T A Q), a second third
  const double exact = (q * times(a, q)).sum().item<double>();
  const auto norm = norm_of_columns(y);
  // Q spans everything: nothing is left.
  if (k == a.rows()) return {{exact, 0.0, 2 * k, 0}, norm};
  // tr((I - Q Q^T) A (I - Q Q^T)) by Hutchinson, the last third: z <- (I - Q Q^T) z, then z^T A z.
  RunningMean rest;
  const auto left = plan.products - 2 * k;
  while (rest.count() < left && !good_enough(rest, exact, plan)) {
    auto z = sign_probe(a, plan.seed, k + rest.count()).to(at::kCPU, at::kDouble);
    z -= q.mv(q.t().mv(z));
    rest.add(double_product(z, a(z.to(a.options())).to(at::kCPU, at::kDouble)));
  }
  const auto products = 2 * k + rest.count();
  // tr A = tr(Q^T A Q) + the rest, whose error is the whole one
  auto trace = estimate_of(rest.result());
  trace.value += exact;
  trace.products = products;
  return {trace, norm};
}

// XTrace in the coordinates of Q, k x k: with Y = A Omega = Q R the range without some probes is
// the complement in Q of the columns of R^-T that belong to them. For a probe w whose own column is
// among those, with P the projection on that complement,
//   t = tr(P A P) + w^T (I - P) A (I - P) w.
class ExchangeableTrace {
 public:
  // H = Q^T A Q from Z = A Q, V = Q^T Omega, R^-T, and w_i^T A w_i from Omega and Y.
  ExchangeableTrace(const at::Tensor& q, const at::Tensor& r, const at::Tensor& z,
                    const at::Tensor& omega, const at::Tensor& y)
      : probe_count_(r.size(1)),
        triangle_(matrix(r)),
        projected_(matrix(q.t().mm(z))),
        probes_inside_(matrix(q.t().mm(omega))),
        inverse_(triangle_.transpose().triangularView<Eigen::Lower>().solve(
            Eigen::MatrixXd::Identity(probe_count_, probe_count_))) {
    const auto products = (omega * y).sum(0).contiguous();
    diagonal_ = Eigen::Map<const Eigen::VectorXd>(products.data_ptr<double>(), probe_count_);
  }

  // The estimate of probe i from the range without the probes in `out`, i among them.
  double estimate(Eigen::Index i, const std::vector<Eigen::Index>& out) const {
    // P = Q (I - B B^T) Q^T:  tr(P A P) = tr H - tr(B^T H B)
    const auto b = directions(out);
    const double range = projected_.trace() - (b.transpose() * projected_ * b).trace();
    // u = (I - B B^T) v_i, the coordinates of P w_i;  with A w_i = Q r_i:
    // w^T (I - P) A (I - P) w = w^T A w - 2 u^T r_i + u^T H u
    const Eigen::VectorXd inside =
        probes_inside_.col(i) - b * (b.transpose() * probes_inside_.col(i));
    return range + diagonal_[i] - 2.0 * inside.dot(triangle_.col(i)) +
           inside.dot(projected_ * inside);
  }

  RunningMean estimates() const {
    RunningMean mean;
    for (Eigen::Index i = 0; i < probe_count_; ++i) mean.add(estimate(i, {i}));
    return mean;
  }

  // The whole estimate again without each probe; its spread times (k - 1).
  double jackknife_error() const {
    RunningMean without;
    // t_(i) = mean over j != i of the estimate of probe j without the columns of both
    for (Eigen::Index i = 0; i < probe_count_; ++i) {
      double sum = 0.0;
      for (Eigen::Index j = 0; j < probe_count_; ++j) sum += j == i ? 0.0 : estimate(j, {i, j});
      without.add(sum / static_cast<double>(probe_count_ - 1));
    }
    return without.standard_error() * static_cast<double>(probe_count_ - 1);
  }

 private:
  static Eigen::MatrixXd matrix(const at::Tensor& x) {
    const auto dense = x.contiguous();
    using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<const RowMajor>(dense.data_ptr<double>(), dense.size(0), dense.size(1));
  }

  // Orthonormal columns that span those of R^-T.
  Eigen::MatrixXd directions(const std::vector<Eigen::Index>& out) const {
    Eigen::MatrixXd b(probe_count_, static_cast<Eigen::Index>(out.size()));
    for (std::size_t c = 0; c < out.size(); ++c) {
      const auto column = static_cast<Eigen::Index>(c);
      // Gram-Schmidt: b_c <- b_c - b_k (b_k . b_c), normalised
      b.col(column) = inverse_.col(out[c]).normalized();
      for (Eigen::Index before = 0; before < column; ++before) {
        b.col(column) -= b.col(before) * b.col(before).dot(b.col(column));
      }
      b.col(column).normalize();
    }
    return b;
  }

  Eigen::Index probe_count_;
  Eigen::MatrixXd triangle_, projected_, probes_inside_, inverse_;
  Eigen::VectorXd diagonal_;
};

// The sketch Y = A Omega = Q R and Z = A Q, a few probes at a time: Q keeps the columns it has.
struct GrowingSketch {
  at::Tensor omega, y, q, z;

  void grow(const LinearOperator& a, std::uint64_t seed, std::int64_t count) {
    const auto [products, probes] = sketch(a, seed, size(), count);
    // Y_new <- (I - Q Q^T) Y_new, twice, then orthonormal: the new columns of Q
    auto fresh = products;
    for (int pass = 0; pass < 2 && q.defined(); ++pass) fresh = fresh - q.mm(q.t().mm(fresh));
    fresh = orthonormal(fresh);
    const auto join = [](const at::Tensor& before, const at::Tensor& more) {
      return before.defined() ? at::cat({before, more}, 1) : more;
    };
    z = join(z, times(a, fresh));
    q = join(q, fresh);
    y = join(y, products);
    omega = join(omega, probes);
  }
  std::int64_t size() const { return q.defined() ? q.size(1) : 0; }
};

Estimate exchangeable_estimate(const GrowingSketch& s) {
  // R = Q^T Y, upper triangular since every column of Y lies in the columns of Q up to its own
  const auto r = s.q.t().mm(s.y).triu();
  // A product that has nothing of its own: the range is in Q, and tr A = tr(Q^T A Q).
  if (!r.diagonal().all().item<bool>()) {
    return {(s.q * s.z).sum().item<double>(), 0.0, 2 * s.size(), 0};
  }
  const ExchangeableTrace trace(s.q, r, s.z, s.omega, s.y);
  const auto mean = trace.estimates();
  // Geometric mean of the paper's error and the jackknife's, see trace.hpp
  const double error = std::sqrt(mean.standard_error() * trace.jackknife_error());
  return {mean.mean(), error, 2 * s.size(), s.size()};
}

TraceAndNorm exchangeable(const LinearOperator& a, const SamplingPlan& plan) {
  require_products(plan, 4);
  const auto most = std::min(plan.products / 2, a.rows());
  const bool adapts = plan.relative_error > 0.0;
  GrowingSketch s;
  s.grow(a, plan.seed, adapts ? std::min(most, kFewest) : most);
  auto trace = exchangeable_estimate(s);
  while (s.size() < most && trace.standard_error > plan.relative_error * std::abs(trace.value)) {
    s.grow(a, plan.seed, std::min(most - s.size(), s.size() / 2));
    trace = exchangeable_estimate(s);
  }
  return {trace, norm_of_columns(s.y)};
}

}  // namespace

TraceAndNorm trace_and_norm(const LinearOperator& a, const SamplingPlan& plan, TraceMethod method) {
  switch (method) {
    case TraceMethod::hutchinson:
      return hutchinson(a, plan);
    case TraceMethod::hutch_plus_plus:
      return hutch_plus_plus(a, plan);
    case TraceMethod::xtrace:
      return exchangeable(a, plan);
  }
  throw InvariantError("no such trace method");
}

Estimate hutch_plus_plus_trace(const LinearOperator& a, const SamplingPlan& plan) {
  return trace_and_norm(a, plan, TraceMethod::hutch_plus_plus).trace;
}

Estimate xtrace(const LinearOperator& a, const SamplingPlan& plan) {
  return trace_and_norm(a, plan, TraceMethod::xtrace).trace;
}

VectorEstimate diagonal(const LinearOperator& a, const SamplingPlan& plan) {
  return vector_mean(a, plan, [&](const at::Tensor& z) { return z * a(z); });
}

VectorEstimate squared_row_norms(const LinearOperator& a, const SamplingPlan& plan) {
  return vector_mean(a, plan, [&](const at::Tensor& z) { return a(z).square(); });
}

DiagonalAndRowNorms diagonal_and_row_norms(const LinearOperator& a, const SamplingPlan& plan) {
  require_products(plan, 2);
  RunningVectorMean diagonal(a.rows()), norms(a.rows());
  while (diagonal.wants_more(plan)) {
    const auto z = sign_probe(a, plan.seed, diagonal.count());
    const auto y = a(z);
    // E z_i (A z)_i = A_ii,  E (A z)_i^2 = ||A_i||^2
    diagonal.add(z * y);
    norms.add(y.square());
  }
  return {diagonal.estimate(), norms.estimate()};
}

}  // namespace blockwise
