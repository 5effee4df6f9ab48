// Spectral density by stochastic Lanczos quadrature (Ghorbani, Krishnan and Xiao, arXiv 1901.10159;
// Ubaru, Chen and Saad 2017), with what it does not know.
//
// For a random unit vector q the weights first_i at the Ritz values of m Lanczos steps are a Gauss
// quadrature of the measure q^T delta(A - x) q, whose mean over q is the density. The cumulative
// distribution is what is reported with a band; a density is a broadened picture of it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "hessian/lanczos.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

struct MeanAndError {
  double mean, standard_error;  // 0 for one sample
};
MeanAndError mean_and_error(const std::vector<double>& samples);

struct Quadrature {
  std::vector<double> nodes;    // ascending
  std::vector<double> weights;  // sum to 1
};

struct SpectralDensity {
  std::vector<Quadrature> probes;
  std::int64_t rows = 0;

  // Share of the eigenvalues at or below x, and its standard error over probes (0 for one probe).
  using Share = MeanAndError;
  Share cumulative(double x) const;
  // tr f(A) / n with its standard error over probes.
  Share mean_of(const std::function<double(double)>& f) const;
  // The density at x with every node as a Gaussian of standard deviation sigma.
  double broadened(double x, double sigma) const;
  double smallest() const;
  double largest() const;
};

struct DensityOptions {
  std::int64_t steps = 80;
  std::int64_t probes = 10;
  std::uint64_t seed = 0;
  Reorthogonalisation reorthogonalisation = Reorthogonalisation::full;
  double noise = 0.0;
};

// Cost: steps * probes products. Probe k is Gaussian, from stream (seed, probe, k): more probes
// keep the ones before. `observe` gets products done.
SpectralDensity spectral_density(const LinearOperator& a, const DensityOptions& options,
                                 const std::function<bool(std::int64_t)>& observe = {});

// tr f(A): probes until the standard error is at most this share of the value, of ten at least;
// options.probes at most. Its error is that of the probes; the quadrature's own is small where f is
// smooth over the spectrum's gaps.
Estimate trace_of_function(const LinearOperator& a, const std::function<double(double)>& f,
                           const DensityOptions& options, double relative_error);

// Jensen-Shannon divergence of two spectra in nats, 0 to ln 2: both as shares of `cells` equal
// cells of asinh(x / s) between the outermost nodes of the two, s the median |node| of both by
// weight, so that a bulk and outliers far from it both count; nodes spread as Gaussians of two
// cells.
double jensen_shannon(const SpectralDensity& p, const SpectralDensity& q, std::int64_t cells = 512);

// Its standard error by the jackknife over probes: both without their probe k, for every k. NaN
// where one of them has a single probe.
double jensen_shannon_error(const SpectralDensity& p, const SpectralDensity& q,
                            std::int64_t cells = 512);

// Largest |node| over the smallest one when a share `left_out` of the weight, that of the smallest
// |nodes|, is set aside: 0 for exact spectra; quadratures cannot see single eigenvalues near 0.
double condition_number(const Quadrature& spectrum, double left_out);

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

// In advance: probes for a standard error of the cumulative distribution of at most `error`
// anywhere. A probe's share of an eigenvalue count p has variance at most 2 p (1 - p) / (n + 2) <=
// 1 / (2 n + 4) over Gaussian directions.
std::int64_t probes_for_error(std::int64_t rows, double error);

}  // namespace blockwise
