// Spectral density by stochastic Lanczos quadrature (Ghorbani, Krishnan and Xiao, arXiv 1901.10159;
// Ubaru, Chen and Saad 2017), with what it does not know.
//
// For a random unit vector q the weights first_i at the Ritz values of m Lanczos steps are a Gauss
// quadrature of the measure q^T delta(A - x) q, whose mean over q is the density. The cumulative
// distribution is what is reported with a band; a density is a broadened picture of it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "hessian/canonical_quadrature.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

// f for sums over a spectrum: smooth but at one point, where it may have a peak, dip, cusp or step.
struct SpectrumIntegrand {
  std::function<double(double)> value;
  double rough = 0.0;
};

struct SpectralDensity {
  std::vector<Quadrature> probes;
  std::int64_t rows = 0;
  // Where the spectrum is known to end, 0 for Gauss-Newton.
  double smallest_possible = -std::numeric_limits<double>::infinity();

  // Share of the eigenvalues at or below x.
  Estimate cumulative(double x) const;
  // tr f(A) / n: mean over probes, with their error and the means of what every quadrature may be
  // below and above its limit (integral_bounds(); infinite where residuals are not known).
  Estimate mean_of(const SpectrumIntegrand& f) const;
  // Mean over probes of sum_i weight_i f(node_i), without what lies beyond their limit.
  SampleMean probe_mean(const std::function<double(double)>& f) const;
  double smallest() const;
  double largest() const;
};

// Whether a quadrature may stay as deep as it is: it is off by at most a tenth of the standard
// error that `probes` Gaussian probes of `rows` elements will have, of `relative_error` of the
// integral, or 1e-3 of it. (A probe's variance is 2 / (n + 2) that of f over the spectrum.)
struct DepthGoal {
  std::int64_t rows = 0, probes = 1;
  double relative_error = 0.0;
  double smallest_possible = -std::numeric_limits<double>::infinity();
};
bool is_deep_enough(const Quadrature& gauss, const SpectrumIntegrand& f, const DepthGoal& goal);
// Depths that are tried: `steps`, and half as many again until `most`. The first that is not below
// `done`, and the one behind `steps`.
std::int64_t first_depth(std::int64_t steps, std::int64_t most, std::int64_t done);
std::int64_t next_depth(std::int64_t steps, std::int64_t most);

struct DensityOptions {
  std::int64_t steps = 80;
  std::int64_t probes = 10;
  std::uint64_t seed = 0;
  Reorthogonalisation reorthogonalisation = Reorthogonalisation::full;
  double noise = 0.0;
  double smallest_possible = -std::numeric_limits<double>::infinity();
};

// Cost: steps * probes products. Probe k is Gaussian, from stream (seed, probe, k): more probes
// keep the ones before. `observe` gets products done.
SpectralDensity spectral_density(const LinearOperator& a, const DensityOptions& options,
                                 const std::function<bool(std::int64_t)>& observe = {});

// tr f(A): probes until the standard error is at most this share of the value, of ten at least;
// options.probes at most. Every probe goes as deep as is_deep_enough() asks for, `most_steps` at
// most.
Estimate trace_of_function(const LinearOperator& a, const SpectrumIntegrand& f,
                           const DensityOptions& options, double relative_error,
                           std::int64_t most_steps);

// Jensen-Shannon divergence of two spectra in nats, 0 to ln 2: both as shares of `cells` equal
// cells of asinh(x / s) between the outermost nodes of the two, s the median |node| of both by
// weight, so that a bulk and outliers far from it both count; nodes spread as Gaussians of two
// cells.
double jensen_shannon(const SpectralDensity& p, const SpectralDensity& q, std::int64_t cells = 512);

// Its standard error by the jackknife over probes: both without their probe k, for every k, as
// these may share a start; where they have different numbers of probes, first without those of one,
// then without those of the other. NaN where one of them has a single probe.
double jensen_shannon_error(const SpectralDensity& p, const SpectralDensity& q,
                            std::int64_t cells = 512);

// Largest |eigenvalue| over the smallest one when a share `left_out` of them, the smallest in
// magnitude, is set aside: quadratures cannot see single eigenvalues near 0.
double condition_number(const Quadrature& spectrum, double left_out);

// What it may be as far as a quadrature tells: between two nodes the share of |eigenvalues| at or
// below x is known up to the nodes at both of its ends (Chebyshev, Markov and Stieltjes), and
// `deviations` standard deviations of one probe's share, 2 p (1 - p) / (n + 2) at most, are added.
// high is infinite where a share of `left_out` may lie at 0.
Interval condition_bounds(const Quadrature& gauss, double left_out, std::int64_t rows,
                          double deviations, double smallest_possible);

// In advance, for a density that is within `error` * (largest - smallest eigenvalue) of the true
// one in Wasserstein distance with probability 1 - failure (Chen, Trogdon and Ubaru, arXiv
// 2105.06595):
//   steps = ceil(12 / error + 1/2),  probes = ceil(4 ln(2 n / failure) / ((n + 2) error^2)).
// It holds for every spectrum; measured errors are far smaller.
struct DensityCost {
  std::int64_t steps, probes;
};
DensityCost density_cost(std::int64_t rows, double error, double failure);

// The error of that bound for a number of steps, the other way round.
double density_error(std::int64_t steps);

}  // namespace blockwise
