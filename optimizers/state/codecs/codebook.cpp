#include "optimizers/state/codecs/codebook.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace blockwise {
namespace {

constexpr std::int64_t kBins = 4096;

// Sums over the first i points of weight, weight x and weight x^2.
struct PrefixSums {
  std::vector<double> weight{0.0}, first{0.0}, second{0.0};

  explicit PrefixSums(const WeightedPoints& points) {
    for (std::size_t i = 0; i < points.x.size(); ++i) {
      const double x = points.x[i], w = points.weight[i];
      weight.push_back(weight.back() + w);
      first.push_back(first.back() + w * x);
      second.push_back(second.back() + w * x * x);
    }
  }

  double mean(std::size_t begin, std::size_t end) const {
    return (first[end] - first[begin]) / (weight[end] - weight[begin]);
  }
  // sum w (x - mean)^2 = sum w x^2 - (sum w x)^2 / sum w
  double cost(std::size_t begin, std::size_t end) const {
    const double sum = first[end] - first[begin];
    return second[end] - second[begin] - sum * sum / (weight[end] - weight[begin]);
  }
};

// cost[j]: of the first j points in so many groups; begin[j]: where the last of them begins.
struct Layer {
  std::vector<double> cost;
  std::vector<std::size_t> begin;
};

// Layers of one group more, by halving: the best begin of the middle j bounds those on both sides.
class NextLayer {
 public:
  NextLayer(const PrefixSums& sums, const Layer& before, std::size_t groups)
      : sums_(sums), before_(before), point_count_(before.cost.size() - 1) {
    layer_.cost.assign(point_count_ + 1, std::numeric_limits<double>::infinity());
    layer_.begin.assign(point_count_ + 1, groups - 1);
    fill(groups, point_count_, groups - 1, point_count_ - 1);
  }
  Layer take() { return std::move(layer_); }

 private:
  // For j in [low, high], whose begins lie in [first, last].
  void fill(std::size_t low, std::size_t high, std::size_t first, std::size_t last) {
    if (low > high) return;
    const auto j = low + (high - low) / 2;
    for (auto i = first; i <= std::min(last, j - 1); ++i) {
      const double cost = before_.cost[i] + sums_.cost(i, j);
      if (cost < layer_.cost[j]) {
        layer_.cost[j] = cost;
        layer_.begin[j] = i;
      }
    }
    const auto best = layer_.begin[j];
    if (j > low) fill(low, j - 1, first, best);
    fill(j + 1, high, best, last);
  }

  const PrefixSums& sums_;
  const Layer& before_;
  std::size_t point_count_;
  Layer layer_;
};

// Shares of x / s in equal parts of [-1, 1]; parts without any are left out.
WeightedPoints histogram(std::span<const float> x, std::int64_t block) {
  std::vector<double> counts(kBins, 0.0);
  for (std::size_t begin = 0; begin < x.size(); begin += std::size_t(block)) {
    const auto part = x.subspan(begin, std::min(std::size_t(block), x.size() - begin));
    float most = 0.0F;
    for (const float value : part) most = std::max(most, std::abs(value));
    if (most == 0.0F) continue;
    for (const float value : part) {
      const double place = (double(value) / double(most) + 1.0) / 2.0 * double(kBins);
      ++counts[std::size_t(std::clamp(place, 0.0, double(kBins - 1)))];
    }
  }
  WeightedPoints points;
  for (std::int64_t bin = 0; bin < kBins; ++bin) {
    if (counts[std::size_t(bin)] == 0.0) continue;
    points.x.push_back((double(bin) + 0.5) / double(kBins) * 2.0 - 1.0);
    points.weight.push_back(counts[std::size_t(bin)]);
  }
  return points;
}

}  // namespace

std::vector<double> best_centres(const WeightedPoints& points, std::int64_t k) {
  const auto n = points.x.size();
  const auto groups = std::min(n, std::size_t(k));
  if (groups == n) return points.x;
  const PrefixSums sums(points);
  std::vector<Layer> layers(1);
  layers[0].begin.assign(n + 1, 0);
  layers[0].cost.push_back(0.0);
  for (std::size_t j = 1; j <= n; ++j) layers[0].cost.push_back(sums.cost(0, j));
  for (std::size_t g = 2; g <= groups; ++g) {
    layers.push_back(NextLayer(sums, layers.back(), g).take());
  }
  std::vector<double> centres(groups);
  auto end = n;
  for (auto g = groups; g-- > 0;) {
    const auto begin = layers[g].begin[end];
    centres[g] = sums.mean(begin, end);
    end = begin;
  }
  return centres;
}

bool has_free_places(std::span<const float> values) {
  return values[values.size() - 2] == values.back();
}

bool learn_codebook(std::span<const float> x, std::int64_t block, std::span<float> values) {
  const auto points = histogram(x, block);
  if (points.x.empty()) return false;
  auto centres = best_centres(points, std::int64_t(values.size()));
  if (centres.size() + 3 < values.size()) {
    centres.insert(centres.end(), {-1.0, 0.0, 1.0});
    std::ranges::sort(centres);
    centres.resize(values.size(), 1.0);
  } else {
    centres.resize(values.size(), 1.0);
    centres.front() = -1.0;
    centres.back() = 1.0;
    *std::min_element(centres.begin() + 1, centres.end() - 1,
                      [](double a, double b) { return std::abs(a) < std::abs(b); }) = 0.0;
  }
  std::ranges::transform(centres, values.begin(), [](double c) { return static_cast<float>(c); });
  return true;
}

}  // namespace blockwise
