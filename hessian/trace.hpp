// Traces, diagonals and norms of operators that only multiply, each with a standard error.
#pragma once

#include <cstdint>
#include <functional>

#include "core/base/linear_operator.hpp"
#include "core/base/statistics.hpp"

namespace blockwise {

struct Estimate {
  double value = 0.0;
  double standard_error = 0.0;  // 0 where one sample cannot tell
  std::int64_t products = 0;
  std::int64_t samples = 0;  // behind the error; 0: exact
  double skewness = 0.0;     // of samples that are squares, see SampleMean
  // Beside that: how far a quadrature may be below and above the value.
  double below = 0.0, above = 0.0;

  // Covers with this probability: SampleMean::interval(), widened by what the quadrature may be
  // off. Infinite where one sample cannot tell.
  Interval interval(double confidence = kConfidence) const;
};

struct SamplingPlan {
  std::int64_t products = 100;  // at most
  // Stop when the standard error is at most this share of the value (for vectors: in L2 norms), of
  // ten samples at least, since the error of few samples is luck; 0: never.
  double relative_error = 0.0;
  std::uint64_t seed = 0;
};

// Mean of z^T A z over Rademacher z (Hutchinson 1989); exact for diagonal A.
// Variance of one sample for symmetric A: 2 (||A||_F^2 - ||diag A||^2).
Estimate hutchinson_trace(const LinearOperator& a, const SamplingPlan& plan);

// Hutch++ (Meyer, Musco, Musco and Woodruff, arXiv 2010.09649): a third of the products finds a
// range Q, tr(Q^T A Q) is exact, Hutchinson does the rest on (I - Q Q^T) A (I - Q Q^T). Memory: a
// third of the products in vectors. The error is that of the rest.
Estimate hutch_plus_plus_trace(const LinearOperator& a, const SamplingPlan& plan);

// XTrace (Epperly, Tropp and Webber, arXiv 2301.07825): every probe is used for the range that
// serves the others, exchangeably; half the products are probes. Memory: as many vectors as
// products. With a relative error it starts with 10 probes and grows by half until that is met. The
// error deviates from the paper's (eq. 1.7), which takes the probes' estimates for
// independent: measured over flat, spiked and decaying spectra the true error is 1.0 to 1.6 of
// that, and 0.6 to 0.9 of a jackknife over probes. Reported is the geometric mean of the two, 0.9
// to 1.0 of the true one.
Estimate xtrace(const LinearOperator& a, const SamplingPlan& plan);

// ||A||_F^2 as the mean of ||A z||^2 over Rademacher z.
Estimate squared_frobenius_norm(const LinearOperator& a, const SamplingPlan& plan);

enum class TraceMethod { hutchinson, hutch_plus_plus, xtrace };

// Both from the same products: the norm from those with plain Rademacher vectors, which are all, a
// third, or half of them. What stops the sampling is the trace's error.
struct TraceAndNorm {
  Estimate trace;
  Estimate squared_frobenius_norm;
};
TraceAndNorm trace_and_norm(const LinearOperator& a, const SamplingPlan& plan,
                            TraceMethod method = TraceMethod::hutchinson);

struct VectorEstimate {
  at::Tensor value;               // [n] float64 on the CPU
  at::Tensor standard_error;      // [n]
  std::int64_t products = 0;      // samples of every element: t has products - 1 degrees of freedom
  double relative_error() const;  // ||standard_error|| / ||value||
};

// diag A as the mean of z * (A z) (Bekas, Kokiopoulou and Saad 2007, with |z| = 1).
VectorEstimate diagonal(const LinearOperator& a, const SamplingPlan& plan);
// ||A_i||^2 of every row as the mean of (A z)_i^2.
VectorEstimate squared_row_norms(const LinearOperator& a, const SamplingPlan& plan);

// Both from the same products; the diagonal's error stops the sampling.
struct DiagonalAndRowNorms {
  VectorEstimate diagonal, squared_row_norms;
};
DiagonalAndRowNorms diagonal_and_row_norms(const LinearOperator& a, const SamplingPlan& plan);

}  // namespace blockwise
