#include "hessian/evidence/atom_graph.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/base/error.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kNullMaps = 20;
const double kOneOfHundred = std::log(100.0);  // exp(-x) = 1 %

at::Tensor atom_signs(const std::vector<std::int64_t>& shape, std::uint64_t seed,
                      std::uint64_t what, std::uint64_t which) {
  const auto place = static_cast<std::uint64_t>(ProbePlace::atom_signs) + what;
  return rademacher(shape, probe_generator(seed, place, which));
}

// links[i, j] += sum over k != l of s_j^k s_j^l G_i^kl / (K (K - 1)); gram [atoms, K, K] without
// its diagonal, s [K, atoms].
at::Tensor coded_links(const at::Tensor& gram, const at::Tensor& s) {
  const auto k = s.size(0);
  const auto projected = gram.matmul(s);  // [atoms, K, atoms]
  return (projected * s.unsqueeze(0)).sum(1) / double(k * (k - 1));
}

// <y_i^k, y_i^l> for every atom i, zero for k = l.
at::Tensor atom_grams(const at::Tensor& y, const at::Tensor& labels, std::int64_t atoms) {
  const auto k = y.size(0);
  const auto grams = at::zeros({atoms, k, k}, y.options());
  for (std::int64_t l = 0; l < k; ++l) {
    const auto products = y * y[l].unsqueeze(0);  // [K, rows]
    const auto sums = at::zeros({k, atoms}, y.options()).index_add_(1, labels, products);
    grams.select(2, l).copy_(sums.t());
  }
  return grams.masked_fill_(at::eye(k, at::TensorOptions().dtype(at::kBool)).unsqueeze(0), 0.0);
}

// x_ij and x_ji both estimate ||A_ij||^2, with noise in proportion to what their rows i and j hold:
// the mean of the two that has the least of it.
at::Tensor weights_of(const at::Tensor& rows) {
  const auto size = (rows / rows.max().clamp_min(1e-300)).clamp_min(1e-12);
  return size.square().reciprocal().unsqueeze(1).expand({rows.numel(), rows.numel()});
}

at::Tensor symmetric(const at::Tensor& x, const at::Tensor& rows) {
  // The mean weighted with the inverse variances: (w_ij x_ij + w_ji x_ji) / (w_ij + w_ji)
  const auto w = weights_of(rows);
  return (x * w + (x * w).t()) / (w + w.t());
}

// The two directions have signs of their own, so the larger weight of both counts.
at::Tensor symmetric_peaks(const at::Tensor& peaks, const at::Tensor& rows) {
  const auto w = weights_of(rows);
  const auto weighted = peaks.unsqueeze(1) * w;
  return at::maximum(weighted, weighted.t()) / (w + w.t());
}

double pairs(double n) { return n * (n - 1.0) / 2.0; }

// A graph of groups, merged and moved.
class Grouping {
 public:
  explicit Grouping(const AtomGraph& graph)
      : atom_count_(graph.links.size(0)), links_(normalised(graph.links, graph.rows)) {
    for (const auto& map : graph.null) null_.push_back(normalised(map, graph.rows));
    peaks_ = normalised(graph.peaks, graph.rows);
    links_.fill_diagonal_(0.0);
    total_ = links_.sum().item<double>();
    const auto strengths = links_.sum(1);
    for (std::int64_t i = 0; i < atom_count_; ++i) {
      groups_.push_back({i});
      strength_.push_back(std::max(0.0, strengths[i].item<double>()));
    }
  }

  std::vector<std::int64_t> run() {
    if (total_ > 0.0) {
      while (merge_best()) {
      }
      move_atoms();
    }
    return numbers();
  }

 private:
  using Group = std::vector<std::int64_t>;

  // l_ij = ||A_ij||^2 / sqrt(r_i r_j), with r_i = ||A_i||^2 what row i holds
  static at::Tensor normalised(const at::Tensor& map, const at::Tensor& rows) {
    const auto scale = (rows.unsqueeze(0) * rows.unsqueeze(1)).sqrt();
    return at::where(scale > 0.0, map / scale.clamp_min(1e-300), at::zeros_like(map));
  }

  // sum of l_ij over i in a, j in b
  static double between(const at::Tensor& map, const Group& a, const Group& b) {
    const auto view = map.accessor<double, 2>();
    double sum = 0.0;
    for (const auto i : a) {
      for (const auto j : b) sum += view[i][j];
    }
    return sum;
  }

  double strength(const Group& group) const {
    double sum = 0.0;
    for (const auto i : group) sum += strength_[std::size_t(i)];
    return sum;
  }

  // What merging adds to the modularity, times total / 2.
  double gain(const Group& a, const Group& b) const {
    return between(links_, a, b) - strength(a) * strength(b) / total_;
  }

  // Chance to be above it: exp(-x).
  bool above_null(const Group& a, const Group& b, double x) const {
    double sum = 0.0, squares = 0.0;
    for (const auto& map : null_) {
      const double value = between(map, a, b);
      sum += value;
      squares += value * value;
    }
    // Mean m and deviation d over the maps of foreign signs. Bernstein's bound for a form in random
    // signs: l > m + d sqrt(2 x) + 2 peak x with probability at most exp(-x).
    const double count = double(null_.size());
    const double mean = sum / count;
    const double deviation = std::sqrt(std::max(0.0, squares / count - mean * mean));
    return between(links_, a, b) > mean + deviation * std::sqrt(2.0 * x) + 2.0 * peak(a, b) * x;
  }

  double peak(const Group& a, const Group& b) const {
    const auto view = peaks_.accessor<double, 2>();
    double most = 0.0;
    for (const auto i : a) {
      for (const auto j : b) most = std::max(most, view[i][j]);
    }
    return most;
  }

  // Of all pairs of groups together no more than 1 % shall be above it by chance.
  double one_of_all() const {
    return kOneOfHundred + std::log(std::max(1.0, pairs(double(groups_.size()))));
  }

  bool merge_best() {
    const double x = one_of_all();
    double most = 0.0;
    std::size_t first = 0, second = 0;
    for (std::size_t a = 0; a < groups_.size(); ++a) {
      for (std::size_t b = a + 1; b < groups_.size(); ++b) {
        const double links = double(groups_[a].size() * groups_[b].size());
        const double value = between(links_, groups_[a], groups_[b]) / links;
        const bool worth = value > most && gain(groups_[a], groups_[b]) > 0.0;
        if (!worth || !above_null(groups_[a], groups_[b], x)) continue;
        most = value;
        first = a;
        second = b;
      }
    }
    if (most <= 0.0) return false;
    groups_[first].insert(groups_[first].end(), groups_[second].begin(), groups_[second].end());
    groups_.erase(groups_.begin() + std::ptrdiff_t(second));
    return true;
  }

  // Every move raises the modularity, so it ends; the bound guards against rounding.
  void move_atoms() {
    bool moved = true;
    for (int round = 0; moved && round < 100; ++round) {
      moved = false;
      for (std::int64_t atom = 0; atom < atom_count_; ++atom) moved = move(atom) || moved;
    }
    std::erase_if(groups_, [](const Group& g) { return g.empty(); });
  }

  bool move(std::int64_t atom) {
    auto home = std::ranges::find_if(
        groups_, [&](const Group& g) { return std::ranges::count(g, atom) > 0; });
    std::erase(*home, atom);
    auto best = home;
    double most = gain({atom}, *home) + 1e-12;
    for (auto group = groups_.begin(); group != groups_.end(); ++group) {
      if (group == home || group->size() < 2) continue;
      const double value = gain({atom}, *group);
      if (value <= most || !above_null({atom}, *group, kOneOfHundred)) continue;
      most = value;
      best = group;
    }
    best->push_back(atom);
    return best != home;
  }

  std::vector<std::int64_t> numbers() const {
    std::vector<std::int64_t> of_atom(std::size_t(atom_count_), -1);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (const auto atom : groups_[g]) of_atom[std::size_t(atom)] = std::int64_t(g);
    }
    std::map<std::int64_t, std::int64_t> order;
    for (auto& group : of_atom) {
      group = order.try_emplace(group, std::int64_t(order.size())).first->second;
    }
    return of_atom;
  }

  std::int64_t atom_count_;
  at::Tensor links_, peaks_;
  std::vector<at::Tensor> null_;
  double total_ = 0.0;
  std::vector<double> strength_;
  std::vector<Group> groups_;
};

// Pairs that are together in a, in b, and in both.
struct PairCounts {
  double a = 0.0, b = 0.0, both = 0.0, all = 0.0;
};

PairCounts count_pairs(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  check_equal(a.size(), b.size(), "atoms of two groupings");
  std::map<std::int64_t, double> in_a, in_b;
  std::map<std::pair<std::int64_t, std::int64_t>, double> in_both;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ++in_a[a[i]];
    ++in_b[b[i]];
    ++in_both[{a[i], b[i]}];
  }
  PairCounts counts;
  for (const auto& [key, n] : in_a) counts.a += pairs(n);
  for (const auto& [key, n] : in_b) counts.b += pairs(n);
  for (const auto& [key, n] : in_both) counts.both += pairs(n);
  counts.all = pairs(double(a.size()));
  return counts;
}

}  // namespace

AtomGraph atom_graph(const LinearOperator& a, const at::Tensor& labels, std::int64_t atoms,
                     const CodePlan& plan, const std::function<bool()>& observe) {
  check_equal(labels.numel(), a.rows(), "labels of the atoms");
  AtomGraph graph;
  graph.links = at::zeros({atoms, atoms}, at::kDouble);
  graph.rows = at::zeros({atoms}, at::kDouble);
  auto peaks = at::zeros({atoms}, at::kDouble);
  graph.null.assign(std::size_t(kNullMaps), {});
  for (auto& map : graph.null) map = at::zeros({atoms, atoms}, at::kDouble);
  for (std::int64_t i = 0; i < plan.vectors; ++i) {
    const auto v = atom_signs({a.rows()}, plan.seed, 0, std::uint64_t(i));
    const auto s = atom_signs({plan.codes, atoms}, plan.seed, 1, std::uint64_t(i));
    std::vector<at::Tensor> y;
    for (std::int64_t k = 0; k < plan.codes; ++k) {
      const auto coded = v * s[k].index_select(0, labels);
      y.push_back(a(coded.to(a.options())).to(at::kCPU, at::kDouble));
      ++graph.products;
      if (observe && !observe()) return graph;
    }
    const auto products = at::stack(y);
    graph.rows.index_add_(0, labels, products.square().mean(0), 1.0 / double(plan.vectors));
    const auto grams = atom_grams(products, labels, atoms);
    graph.links += coded_links(grams, s) / double(plan.vectors);
    const auto scale = double(plan.codes * (plan.codes - 1) * plan.vectors);
    peaks = at::maximum(peaks, at::linalg_eigvalsh(grams).amax(1) / scale);
    for (std::size_t m = 0; m < graph.null.size(); ++m) {
      const auto foreign = atom_signs({plan.codes, atoms}, plan.seed, 2 + m, std::uint64_t(i));
      graph.null[m] += coded_links(grams, foreign) / double(plan.vectors);
    }
  }
  graph.links = symmetric(graph.links, graph.rows);
  for (auto& map : graph.null) map = symmetric(map, graph.rows);
  graph.peaks = symmetric_peaks(peaks, graph.rows);
  return graph;
}

std::vector<std::int64_t> group_atoms(const AtomGraph& graph) { return Grouping(graph).run(); }

double adjusted_rand(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  // Hubert and Arabie: (both - expected) / (most - expected), expected = n_a n_b / n of pairs
  const auto counts = count_pairs(a, b);
  const double expected = counts.all > 0.0 ? counts.a * counts.b / counts.all : 0.0;
  const double most = (counts.a + counts.b) / 2.0;
  return most == expected ? 1.0 : (counts.both - expected) / (most - expected);
}

}  // namespace blockwise
