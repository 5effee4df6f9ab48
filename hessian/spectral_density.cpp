#include "hessian/spectral_density.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "core/error.hpp"
#include "core/random_stream.hpp"

namespace blockwise {
namespace {

at::Tensor gaussian_probe(const LinearOperator& a, std::uint64_t seed, std::uint64_t index) {
  auto generator = make_generator(seed, RandomStream::probe, index);
  return at::randn({a.columns()}, generator, at::kDouble).to(a.options());
}

}  // namespace

MeanAndError mean_and_error(const std::vector<double>& samples) {
  const auto n = static_cast<double>(samples.size());
  double sum = 0.0, squares = 0.0;
  for (const double x : samples) sum += x;
  const double mean = sum / n;
  for (const double x : samples) squares += (x - mean) * (x - mean);
  return {mean, samples.size() < 2 ? 0.0 : std::sqrt(squares / (n - 1.0) / n)};
}

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

namespace {

// Probe k as a quadrature; nothing where `observe` ended it.
std::optional<Quadrature> probe(const LinearOperator& a, const DensityOptions& options,
                                std::int64_t k, const std::function<bool()>& observe) {
  Lanczos lanczos(a, gaussian_probe(a, options.seed, static_cast<std::uint64_t>(k)),
                  {options.steps, options.reorthogonalisation, options.noise});
  bool go_on = true;
  lanczos.run([&](std::int64_t) { return go_on = observe(); });
  if (!go_on) return std::nullopt;
  const auto ritz = ritz_values(lanczos.tridiagonal());
  return Quadrature{ritz.values, ritz.first};
}

constexpr std::int64_t kFewestProbes = 10;

}  // namespace

SpectralDensity spectral_density(const LinearOperator& a, const DensityOptions& options,
                                 const std::function<bool(std::int64_t)>& observe) {
  require_input(options.probes >= 1, "{} probes, at least 1 is needed", options.probes);
  SpectralDensity density;
  density.rows = a.rows();
  std::int64_t done = 0;
  for (std::int64_t k = 0; k < options.probes; ++k) {
    const auto found = probe(a, options, k, [&] { return !observe || observe(++done); });
    if (!found) break;
    density.probes.push_back(*found);
  }
  return density;
}

Estimate trace_of_function(const LinearOperator& a, const std::function<double(double)>& f,
                           const DensityOptions& options, double relative_error) {
  SpectralDensity density;
  density.rows = a.rows();
  std::int64_t products = 0;
  SpectralDensity::Share share{};
  while (std::ssize(density.probes) < options.probes) {
    const auto found = probe(a, options, std::ssize(density.probes), [&] {
      ++products;
      return true;
    });
    density.probes.push_back(*found);
    share = density.mean_of(f);
    if (std::ssize(density.probes) >= kFewestProbes &&
        share.standard_error <= relative_error * std::abs(share.mean)) {
      break;
    }
  }
  const auto n = static_cast<double>(a.rows());
  return {n * share.mean, n * share.standard_error, products, std::ssize(density.probes)};
}

namespace {

struct WeightedNode {
  double node, weight;
};

std::vector<WeightedNode> pooled(const SpectralDensity& density) {
  std::vector<WeightedNode> nodes;
  const double share = 1.0 / static_cast<double>(density.probes.size());
  for (const auto& probe : density.probes) {
    for (std::size_t i = 0; i < probe.nodes.size(); ++i) {
      nodes.push_back({probe.nodes[i], share * probe.weights[i]});
    }
  }
  return nodes;
}

double median_magnitude(std::vector<WeightedNode> nodes) {
  std::ranges::sort(nodes, {}, [](const auto& n) { return std::abs(n.node); });
  double total = 0.0, below = 0.0;
  for (const auto& n : nodes) total += n.weight;
  for (const auto& n : nodes) {
    below += n.weight;
    if (below >= 0.5 * total && n.node != 0.0) return std::abs(n.node);
  }
  return 1.0;
}

// Shares of the cells between low and high, in units of t = asinh(x / scale).
std::vector<double> cell_shares(const std::vector<WeightedNode>& nodes, double scale, double low,
                                double width, std::int64_t cells) {
  constexpr double kSpread = 2.0;  // cells
  std::vector<double> shares(static_cast<std::size_t>(cells), 0.0);
  double total = 0.0;
  for (const auto& n : nodes) {
    const double center = (std::asinh(n.node / scale) - low) / width;
    for (std::int64_t c = 0; c < cells; ++c) {
      const double z = (static_cast<double>(c) + 0.5 - center) / kSpread;
      const double density = n.weight * std::exp(-0.5 * z * z);
      shares[static_cast<std::size_t>(c)] += density;
      total += density;
    }
  }
  for (double& share : shares) share /= total;
  return shares;
}

}  // namespace

double jensen_shannon(const SpectralDensity& p, const SpectralDensity& q, std::int64_t cells) {
  const auto a = pooled(p), b = pooled(q);
  auto both = a;
  both.insert(both.end(), b.begin(), b.end());
  const double scale = median_magnitude(both);
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const auto& n : both) {
    low = std::min(low, std::asinh(n.node / scale));
    high = std::max(high, std::asinh(n.node / scale));
  }
  const double margin = 0.05 * (high - low) + 1e-6;
  const double width = (high - low + 2.0 * margin) / static_cast<double>(cells);
  const auto x = cell_shares(a, scale, low - margin, width, cells);
  const auto y = cell_shares(b, scale, low - margin, width, cells);
  const auto part = [](double u, double m) { return u > 0.0 ? 0.5 * u * std::log(u / m) : 0.0; };
  double divergence = 0.0;
  for (std::size_t c = 0; c < x.size(); ++c) {
    const double middle = 0.5 * (x[c] + y[c]);
    divergence += part(x[c], middle) + part(y[c], middle);
  }
  return divergence;
}

namespace {

SpectralDensity without_probe(const SpectralDensity& density, std::size_t k) {
  auto rest = density;
  rest.probes.erase(rest.probes.begin() + static_cast<std::ptrdiff_t>(k));
  return rest;
}

}  // namespace

double jensen_shannon_error(const SpectralDensity& p, const SpectralDensity& q,
                            std::int64_t cells) {
  const auto count = std::min(p.probes.size(), q.probes.size());
  if (count < 2) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> left;
  for (std::size_t k = 0; k < count; ++k) {
    left.push_back(jensen_shannon(without_probe(p, k), without_probe(q, k), cells));
  }
  return mean_and_error(left).standard_error * static_cast<double>(count - 1);
}

double condition_number(const Quadrature& spectrum, double left_out) {
  std::vector<WeightedNode> nodes;
  for (std::size_t i = 0; i < spectrum.nodes.size(); ++i) {
    nodes.push_back({std::abs(spectrum.nodes[i]), spectrum.weights[i]});
  }
  std::ranges::sort(nodes, {}, &WeightedNode::node);
  double below = 0.0;
  for (const auto& n : nodes) {
    below += n.weight;
    if (below > left_out) return nodes.back().node / n.node;
  }
  return 1.0;
}

double density_error(std::int64_t steps) { return 12.0 / (static_cast<double>(steps) - 0.5); }

DensityCost density_cost(std::int64_t rows, double error, double failure) {
  require_input(error > 0.0 && error < 1.0, "an error of {} of the range, 0 to 1 is allowed",
                error);
  require_input(failure > 0.0 && failure < 1.0, "a probability of failure of {}", failure);
  const double n = static_cast<double>(rows);
  const double probes = 4.0 * std::log(2.0 * n / failure) / ((n + 2.0) * error * error);
  return {static_cast<std::int64_t>(std::ceil(12.0 / error + 0.5)),
          std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(probes)))};
}

std::int64_t probes_for_error(std::int64_t rows, double error) {
  require_input(error > 0.0, "an error of {} is not above 0", error);
  const double variance = 1.0 / (2.0 * static_cast<double>(rows) + 4.0);
  return std::max<std::int64_t>(1,
                                static_cast<std::int64_t>(std::ceil(variance / (error * error))));
}

}  // namespace blockwise
