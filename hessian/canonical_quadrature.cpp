#include "hessian/canonical_quadrature.hpp"

#include <algorithm>
#include <cmath>

namespace blockwise {
namespace {

constexpr double kConverged = 1e-13;  // of the largest |node|: a residual that is rounding
constexpr int kPlaces = 9;

double scale_of(const Quadrature& gauss) {
  return std::max(std::abs(gauss.nodes.front()), std::abs(gauss.nodes.back()));
}

// sum of omega_i f(theta_i)
double integral(const Quadrature& rule, const std::function<double(double)>& f) {
  double sum = 0.0;
  for (std::size_t i = 0; i < rule.nodes.size(); ++i) sum += rule.weights[i] * f(rule.nodes[i]);
  return sum;
}

// [diag(pole) b; b^T corner] with b_i > 0: its eigenvalues are the zeros of
//   g(x) = x - corner - sum of b_i^2 / (x - pole_i),
// which increases between the poles. An eigenvector has b_i / (x - pole_i) and, last, 1.
class Arrowhead {
 public:
  Arrowhead(std::vector<double> poles, std::vector<double> b, double corner)
      : poles_(std::move(poles)), border_(std::move(b)), corner_(corner) {
    double squares = 0.0;
    // ||b||: no eigenvalue is farther than that outside the poles and the corner (Weyl).
    for (const double x : border_) squares += x * x;
    reach_ = std::sqrt(squares);
  }

  // An eigenvalue as its nearest pole and the distance from it.
  struct Root {
    std::size_t pole;
    double distance;
  };

  // The one between pole i - 1 and pole i; i = 0 and i = size are outside.
  Root root(std::size_t i) const {
    if (i == 0) return refine(0, std::min(corner_, poles_.front()) - reach_ - poles_.front());
    const auto last = poles_.size() - 1;
    if (i > last) return refine(last, std::max(corner_, poles_.back()) + reach_ - poles_.back());
    // The sign of g in the middle says which pole is nearer.
    const double half = 0.5 * (poles_[i] - poles_[i - 1]);
    return scaled(i - 1, half).first > 0.0 ? refine(i - 1, half) : refine(i, -half);
  }

  // First component of the unit eigenvector, squared, where row i stands for `first[i]`.
  double weight(const Root& root, const std::vector<double>& first) const {
    double along = 0.0, squares = 1.0;
    for (std::size_t i = 0; i < poles_.size(); ++i) {
      // v_i = b_i / (x - pole_i), without cancellation at the nearest pole
      const double v = border_[i] / (poles_[root.pole] - poles_[i] + root.distance);
      along += first[i] * v;
      squares += v * v;
    }
    // (sum of s_1i v_i)^2 / (1 + ||v||^2)
    return along * along / squares;
  }

  double place(const Root& root) const { return poles_[root.pole] + root.distance; }

 private:
  // h(d) = d g(pole + d), without its pole, and h'. Negative at d = 0, positive beyond the root.
  std::pair<double, double> scaled(std::size_t pole, double d) const {
    double g = poles_[pole] + d - corner_, slope = 1.0;
    for (std::size_t i = 0; i < poles_.size(); ++i) {
      if (i == pole) continue;
      // g = x - corner - sum of b_i^2 / (x - pole_i),  g' = 1 + sum of b_i^2 / (x - pole_i)^2
      const double part = border_[i] / (poles_[pole] - poles_[i] + d);
      g -= border_[i] * part;
      slope += part * part;
    }
    // h = d g - b_pole^2,  h' = g + d g'
    return {d * g - border_[pole] * border_[pole], g + d * slope};
  }

  // Newton's steps, halved where they leave the bracket.
  Root refine(std::size_t pole, double far) const {
    constexpr int kMost = 60;
    double near = 0.0, d = 0.5 * far;
    for (int k = 0; k < kMost; ++k) {
      const auto [h, slope] = scaled(pole, d);
      // The bracket shrinks, then d <- d - h / h', or its middle.
      (h < 0.0 ? near : far) = d;
      double next = d - h / slope;
      const auto [low, high] = std::minmax(near, far);
      if (!(next > low && next < high)) next = 0.5 * (near + far);
      if (std::abs(next - d) <= 1e-15 * std::abs(next)) break;
      d = next;
    }
    return {pole, d};
  }

  std::vector<double> poles_, border_;
  double corner_, reach_;
};

// The nodes that have not converged.
std::vector<std::size_t> open_nodes(const Quadrature& gauss) {
  std::vector<std::size_t> open;
  const double floor = kConverged * scale_of(gauss);
  for (std::size_t i = 0; i < gauss.nodes.size(); ++i) {
    if (gauss.residuals[i] > floor) open.push_back(i);
  }
  return open;
}

// Where xi is put: `rough` and places of the gap of open nodes around it, which every canonical
// representation has one node in.
std::vector<double> places(const Quadrature& gauss, const std::vector<std::size_t>& open,
                           double rough, double smallest) {
  std::vector<double> nodes;
  for (const auto i : open) nodes.push_back(gauss.nodes[i]);
  const auto above = std::ranges::lower_bound(nodes, rough);
  const double width = std::max(nodes.back() - nodes.front(), 1e-3 * scale_of(gauss));
  double low = above == nodes.begin() ? std::min(rough, nodes.front() - width) : *std::prev(above);
  const double high = above == nodes.end() ? std::max(rough, nodes.back() + width) : *above;
  if (above == nodes.begin()) low = std::max(low, std::min(smallest, nodes.front()));
  std::vector<double> found = {rough};
  for (int k = 0; k < kPlaces; ++k) found.push_back(low + (high - low) * (k + 0.5) / kPlaces);
  return found;
}

}  // namespace

Quadrature gauss_quadrature(const Tridiagonal& t) {
  auto ritz = ritz_values(t);
  return {std::move(ritz.values), std::move(ritz.first), std::move(ritz.last)};
}

// First components alternate in sign along the nodes where last ones are taken as positive: s_1i
// s_mi has the sign of (-1)^i for a Jacobi matrix.
Quadrature with_node(const Quadrature& gauss, double xi) {
  const auto open = open_nodes(gauss);
  std::vector<double> poles, b, first;
  double corner = xi;
  for (const auto i : open) {
    // theta_i, b_i = |beta s_mi|, s_1i = (-1)^i sqrt(omega_i),  a = xi - sum of b_i^2 / (xi -
    // theta_i)
    poles.push_back(gauss.nodes[i]);
    b.push_back(gauss.residuals[i]);
    first.push_back((i % 2 == 0 ? 1.0 : -1.0) * std::sqrt(gauss.weights[i]));
    corner -= b.back() * b.back() / (xi - poles.back());
  }
  Quadrature rule;
  for (std::size_t i = 0; i < gauss.nodes.size(); ++i) {
    if (std::ranges::binary_search(open, i)) continue;
    // Converged nodes are decoupled: they and their weights stay.
    rule.nodes.push_back(gauss.nodes[i]);
    rule.weights.push_back(gauss.weights[i]);
  }
  // T with one more row, in the basis of its eigenvectors; xi is one of its eigenvalues.
  const Arrowhead bordered(poles, b, corner);
  for (std::size_t i = 0; i <= poles.size(); ++i) {
    const auto root = bordered.root(i);
    rule.nodes.push_back(bordered.place(root));
    rule.weights.push_back(bordered.weight(root, first));
  }
  return rule;
}

QuadratureBounds integral_bounds(const Quadrature& gauss, const std::function<double(double)>& f,
                                 double rough, double smallest) {
  QuadratureBounds bounds;
  bounds.value = bounds.low = bounds.high = integral(gauss, f);
  if (gauss.residuals.empty()) {
    bounds.low = bounds.high = std::numeric_limits<double>::quiet_NaN();
    return bounds;
  }
  const auto open = open_nodes(gauss);
  if (open.empty()) return bounds;
  // Rounding may have put Gauss's own nodes below the end.
  const double end = std::min(smallest, gauss.nodes.front()) - 1e-9 * scale_of(gauss);
  for (const double xi : places(gauss, open, rough, smallest)) {
    if (std::ranges::any_of(open, [&](auto i) { return gauss.nodes[i] == xi; })) continue;
    const auto rule = with_node(gauss, xi);
    if (*std::ranges::min_element(rule.nodes) < end) continue;
    const double value = integral(rule, f);
    bounds.low = std::min(bounds.low, value);
    bounds.high = std::max(bounds.high, value);
  }
  return bounds;
}

}  // namespace blockwise
