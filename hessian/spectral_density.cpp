#include "hessian/spectral_density.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.hpp"
#include "core/random_stream.hpp"

namespace blockwise {
namespace {

SpectralDensity::Share mean_and_error(const std::vector<double>& samples) {
  const auto n = static_cast<double>(samples.size());
  double sum = 0.0, squares = 0.0;
  for (const double x : samples) sum += x;
  const double mean = sum / n;
  for (const double x : samples) squares += (x - mean) * (x - mean);
  return {mean, samples.size() < 2 ? 0.0 : std::sqrt(squares / (n - 1.0) / n)};
}

at::Tensor gaussian_probe(const LinearOperator& a, std::uint64_t seed, std::uint64_t index) {
  auto generator = make_generator(seed, RandomStream::probe, index);
  return at::randn({a.columns()}, generator, at::kDouble).to(a.options());
}

}  // namespace

SpectralDensity::Share SpectralDensity::mean_of(const std::function<double(double)>& f) const {
  std::vector<double> samples;
  for (const auto& probe : probes) {
    double sum = 0.0;
    for (std::size_t i = 0; i < probe.nodes.size(); ++i)
      sum += probe.weights[i] * f(probe.nodes[i]);
    samples.push_back(sum);
  }
  return mean_and_error(samples);
}

SpectralDensity::Share SpectralDensity::cumulative(double x) const {
  return mean_of([x](double node) { return node <= x ? 1.0 : 0.0; });
}

double SpectralDensity::broadened(double x, double sigma) const {
  const double scale = 1.0 / (sigma * std::sqrt(2.0 * std::numbers::pi));
  return mean_of([&](double node) {
           const double z = (x - node) / sigma;
           return scale * std::exp(-0.5 * z * z);
         })
      .mean;
}

double SpectralDensity::smallest() const {
  double value = std::numeric_limits<double>::infinity();
  for (const auto& probe : probes) value = std::min(value, probe.nodes.front());
  return value;
}

double SpectralDensity::largest() const {
  double value = -std::numeric_limits<double>::infinity();
  for (const auto& probe : probes) value = std::max(value, probe.nodes.back());
  return value;
}

SpectralDensity spectral_density(const LinearOperator& a, const DensityOptions& options,
                                 const std::function<bool(std::int64_t)>& observe) {
  require_input(options.probes >= 1, "{} probes, at least 1 is needed", options.probes);
  SpectralDensity density;
  density.rows = a.rows();
  std::int64_t done = 0;
  for (std::int64_t k = 0; k < options.probes; ++k) {
    Lanczos lanczos(a, gaussian_probe(a, options.seed, static_cast<std::uint64_t>(k)),
                    {options.steps, options.reorthogonalisation, options.noise});
    bool go_on = true;
    lanczos.run([&](std::int64_t) {
      ++done;
      go_on = !observe || observe(done);
      return go_on;
    });
    if (!go_on) break;
    const auto ritz = ritz_values(lanczos.tridiagonal());
    density.probes.push_back({ritz.values, ritz.first});
  }
  return density;
}

std::int64_t probes_for_error(std::int64_t rows, double error) {
  require_input(error > 0.0, "an error of {} is not above 0", error);
  const double variance = 1.0 / (2.0 * static_cast<double>(rows) + 4.0);
  return std::max<std::int64_t>(1,
                                static_cast<std::int64_t>(std::ceil(variance / (error * error))));
}

}  // namespace blockwise
