#include "hessian/spectral_density.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
Estimate SpectralDensity::mean_of(const SpectrumIntegrand& f) const {
  double below = 0.0, above = 0.0;
  for (const auto& probe : probes) {
    // What the canonical representations of this probe's moments leave open on either side.
    const auto bounds = integral_bounds(probe, f.value, f.rough, smallest_possible);
    below += bounds.value - bounds.low;
    above += bounds.high - bounds.value;
  }
  const auto mean = probe_mean(f.value);
  const auto share = [&](double sum) {
    return std::isnan(sum) ? std::numeric_limits<double>::infinity() : sum / double(mean.count);
  };
  return {mean.mean, mean.standard_error, 0, mean.count, mean.skewness, share(below), share(above)};
}

SampleMean SpectralDensity::probe_mean(const std::function<double(double)>& f) const {
  std::vector<double> samples;
  for (const auto& probe : probes) {
    // q^T f(A) q = sum of omega_i f(theta_i)
    double sum = 0.0;
    for (std::size_t i = 0; i < probe.nodes.size(); ++i) {
      sum += probe.weights[i] * f(probe.nodes[i]);
    }
    samples.push_back(sum);
  }
  return sample_mean(samples);
}

Estimate SpectralDensity::cumulative(double x) const {
  return mean_of({[x](double node) { return node <= x ? 1.0 : 0.0; }, x});
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

Lanczos start_probe(const LinearOperator& a, const DensityOptions& options, std::int64_t k,
                    std::int64_t most_steps) {
  const auto generator = probe_generator(options.seed, static_cast<std::uint64_t>(k));
  return {a, gaussian(a.columns(), generator, a.options()),
          LanczosOptions{options.steps, most_steps, options.reorthogonalisation, options.noise}};
}

constexpr std::int64_t kFewestProbes = 10;

}  // namespace

bool is_deep_enough(const Quadrature& gauss, const SpectrumIntegrand& f, const DepthGoal& goal) {
  constexpr double kShare = 0.1, kSmall = 1e-3;
  const auto bounds = integral_bounds(gauss, f.value, f.rough, goal.smallest_possible);
  // Of f under one probe's measure; over Gaussian q the mean's variance is 2 Var f / (n + 2) /
  // probes.
  double variance = 0.0;
  for (std::size_t i = 0; i < gauss.nodes.size(); ++i) {
    variance += gauss.weights[i] * std::pow(f.value(gauss.nodes[i]) - bounds.value, 2);
  }
  const double error = std::sqrt(2.0 * variance / double(goal.rows + 2) / double(goal.probes));
  const double share = std::max(kSmall, kShare * goal.relative_error);
  const double off = std::max(bounds.high - bounds.value, bounds.value - bounds.low);
  return off <= std::max(kShare * error, share * std::abs(bounds.value));
}

std::int64_t next_depth(std::int64_t steps, std::int64_t most) {
  return std::min(most, steps + (steps + 1) / 2);
}

std::int64_t first_depth(std::int64_t steps, std::int64_t most, std::int64_t done) {
  while (steps < std::min(done, most)) steps = next_depth(steps, most);
  return steps;
}

SpectralDensity spectral_density(const LinearOperator& a, const DensityOptions& options,
                                 const std::function<bool(std::int64_t)>& observe) {
  require_input(options.probes >= 1, "{} probes, at least 1 is needed", options.probes);
  SpectralDensity density{{}, a.rows(), options.smallest_possible};
  std::int64_t done = 0;
  for (std::int64_t k = 0; k < options.probes; ++k) {
    auto process = start_probe(a, options, k, options.steps);
    bool go_on = true;
    process.run([&](std::int64_t) { return go_on = !observe || observe(++done); });
    if (!go_on) break;
    density.probes.push_back(gauss_quadrature(process.tridiagonal()));
  }
  return density;
}

namespace {

// Deeper until the quadrature is deep enough, or most_steps.
void deepen(Lanczos& process, const SpectrumIntegrand& f, const DepthGoal& goal,
            std::int64_t most_steps) {
  while (process.steps() < most_steps && !process.broke_down() &&
         !is_deep_enough(gauss_quadrature(process.tridiagonal()), f, goal)) {
    process.extend(next_depth(process.steps(), most_steps));
    process.run();
  }
}

}  // namespace

Estimate trace_of_function(const LinearOperator& a, const SpectrumIntegrand& f,
                           const DensityOptions& options, double relative_error,
                           std::int64_t most_steps) {
  SpectralDensity density{{}, a.rows(), options.smallest_possible};
  const DepthGoal goal = {a.rows(), options.probes, relative_error, options.smallest_possible};
  std::int64_t products = 0;
  while (std::ssize(density.probes) < options.probes) {
    auto process = start_probe(a, options, std::ssize(density.probes), most_steps);
    process.run();
    deepen(process, f, goal, most_steps);
    products += process.steps();
    density.probes.push_back(gauss_quadrature(process.tridiagonal()));
    const auto mean = density.probe_mean(f.value);
    if (mean.count >= kFewestProbes &&
        mean.standard_error <= relative_error * std::abs(mean.mean)) {
      break;
    }
  }
  // tr f(A) = n E q^T f(A) q
  const auto share = density.mean_of(f);
  const auto n = static_cast<double>(a.rows());
  return {n * share.value, n * share.standard_error, products,       share.samples,
          share.skewness,  n * share.below,          n * share.above};
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
    // exp(-z^2 / 2) around the cell that t = asinh(theta / s) is in
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
    // m = (p + q) / 2;  JS = sum of p ln(p / m) / 2 + q ln(q / m) / 2
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

// sqrt((n - 1) / n sum (x_(k) - mean)^2) = (n - 1) standard errors of the x_(k) without sample k.
template <typename Without>
double jackknife_error(std::size_t n, const Without& without) {
  std::vector<double> left;
  for (std::size_t k = 0; k < n; ++k) left.push_back(without(k));
  return sample_mean(left).standard_error * static_cast<double>(n - 1);
}

}  // namespace

double jensen_shannon_error(const SpectralDensity& p, const SpectralDensity& q,
                            std::int64_t cells) {
  const auto n = p.probes.size(), m = q.probes.size();
  if (std::min(n, m) < 2) return std::numeric_limits<double>::quiet_NaN();
  if (n == m) {  // probe k of both has the same start
    return jackknife_error(n, [&](std::size_t k) {
      return jensen_shannon(without_probe(p, k), without_probe(q, k), cells);
    });
  }
  return std::hypot(
      jackknife_error(n, [&](auto k) { return jensen_shannon(without_probe(p, k), q, cells); }),
      jackknife_error(m, [&](auto k) { return jensen_shannon(p, without_probe(q, k), cells); }));
}

double condition_number(const Quadrature& spectrum, double left_out) {
  std::vector<WeightedNode> nodes;
  for (std::size_t i = 0; i < spectrum.nodes.size(); ++i) {
    nodes.push_back({std::abs(spectrum.nodes[i]), spectrum.weights[i]});
  }
  std::ranges::sort(nodes, {}, &WeightedNode::node);
  // The smallest |theta| at which the weights below it pass left_out.
  double below = 0.0;
  for (const auto& n : nodes) {
    below += n.weight;
    if (below > left_out) return nodes.back().node / n.node;
  }
  return 1.0;
}

namespace {

// Shares of |eigenvalues| <= x as far as `gauss` tells.
struct ShareBounds {
  double least = 0.0, most = 0.0;
};

ShareBounds share_within(const Quadrature& gauss, double x, double smallest_possible) {
  const auto inside = [&](std::size_t i) { return std::abs(gauss.nodes[i]) <= x; };
  const auto n = gauss.nodes.size();
  std::size_t first = 0;
  while (first < n && !inside(first) && gauss.nodes[first] < 0.0) ++first;
  auto end = first;
  ShareBounds share;
  while (end < n && inside(end)) share.most += gauss.weights[end++];
  share.least = share.most;
  const bool cut_below = first > 0 || smallest_possible < -x;
  if (end > first && cut_below) share.least -= gauss.weights[first];
  if (end > first + (cut_below ? 1 : 0)) share.least -= gauss.weights[end - 1];
  if (first > 0) share.most += gauss.weights[first - 1];
  if (end < n) share.most += gauss.weights[end];
  return share;
}

}  // namespace

// The quantile of |eigenvalues| that is looked for lies where the share may be, and is not surely,
// left_out: at nodes, since between them bounds do not change.
Interval condition_bounds(const Quadrature& gauss, double left_out, std::int64_t rows,
                          double deviations, double smallest_possible) {
  // sqrt(2 p (1 - p) / (n + 2)) of one probe's share p
  const double spread =
      deviations * std::sqrt(2.0 * left_out * (1.0 - left_out) / double(rows + 2));
  std::vector<double> sizes = {0.0};
  for (const double node : gauss.nodes) sizes.push_back(std::abs(node));
  std::ranges::sort(sizes);
  const double largest = sizes.back();
  double low = largest, high = largest;
  for (const double x : sizes) {
    const auto share = share_within(gauss, x, smallest_possible);
    if (share.most + spread > left_out) low = std::min(low, x);
    if (share.least - spread > left_out) high = std::min(high, x);
  }
  return {largest / high, low > 0.0 ? largest / low : std::numeric_limits<double>::infinity()};
}

double density_error(std::int64_t steps) { return 12.0 / (static_cast<double>(steps) - 0.5); }

DensityCost density_cost(std::int64_t rows, double error, double failure) {
  require_input(error > 0.0 && error < 1.0, "an error of {} of the range, 0 to 1 is allowed",
                error);
  require_input(failure > 0.0 && failure < 1.0, "a probability of failure of {}", failure);
  const double n = static_cast<double>(rows);
  // 4 ln(2 n / failure) / ((n + 2) error^2)
  const double probes = 4.0 * std::log(2.0 * n / failure) / ((n + 2.0) * error * error);
  return {static_cast<std::int64_t>(std::ceil(12.0 / error + 0.5)),
          std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(probes)))};
}

}  // namespace blockwise
