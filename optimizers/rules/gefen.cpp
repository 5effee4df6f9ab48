// Gefen (arXiv 2606.13894), in the form of the authors' repository ndvbd/Gefen: AdamW whose second
// moment is one value per block, a run of p elements of the row-major tensor, where the first
// gradient says p once and for all.
//   m <- beta1 m + (1 - beta1) g';  v_b <- beta2 v_b + (1 - beta2) mean_b(g'^2)
//   w <- (1 - lr wd) w - lr (m / (1 - beta1^t)) / (sqrt(v_b / (1 - beta2^t)) + eps)
// p is a divisor of the tensor's size n, by one of the two rules that were released:
//   neighbours (1.2.3): s(p) = mean_b |l_b+1 - l_b|, l_b the mean of ln(g'^2 + 1e-12) in block b.
//     The p above 8 with at least 4 blocks and the largest s(p), of those that exceed the s of the
//     divisors before and behind them; above 1024 the smallest of its divisors above 1024.
//   variance (1.1.1): e(p) = sqrt(mean_b var_b(g'^2)). The p < n where e drops most from the
//   divisor
//     before it; nothing below 8.
// Where no p is found: 1, or with without_blocks rows, as in the fork Gefen-X, the larger of a
// matrix's columns and the largest divisor up to 2048. second_moment factored, Gefen-X's default
// for matrices, keeps the means of rows and columns instead, v_ij = r_i c_j / mean(r). Deviations:
// m is float32 here (their 8-bit code with one learned codebook is a format of state,
// optimizer.state, and no part of this rule), and so is v, which they keep in the gradient's type;
// a first gradient that is 0 everywhere says nothing, and the next one is asked. Cost of the first
// step: one pass in float64 over the tensor for each of its divisors.
// State: exp_avg, 4 bytes per parameter; exp_avg_sq, 4 bytes a block, or 4 (rows + columns).
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "optimizers/matrices/factored_moment.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct GefenOptions {
  std::string second_moment = "blocks";
  std::string blocks = "neighbours";
  std::string without_blocks = "elements";
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;

  void visit(FieldVisitor& v) {
    v.choice({"second_moment", "of a matrix: one value per block, or means of rows and columns"},
             second_moment, {"blocks", "factored"});
    v.choice({"blocks",
              "what finds them in the first gradient: neighbours, jumps between the log means of "
              "blocks (Gefen 1.2.3); variance, drops of the variance within (1.1.1)"},
             blocks, {"neighbours", "variance"});
    v.choice({"without_blocks", "where none are found: elements, one value each; rows, or more"},
             without_blocks, {"elements", "rows"});
    v.real({"beta1", "decay of the first moment"}, beta1, {0.0, 1.0, false, true});
    v.real({"beta2", "decay of the second moment"}, beta2, {0.0, 1.0, false, true});
    v.real({"eps", "added to the root of the second moment, after its bias correction"}, eps,
           {0.0, 1.0, true, false});
  }
};

// Of n, rising, n itself among them.
std::vector<std::int64_t> divisors(std::int64_t n) {
  std::vector<std::int64_t> small, large;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    small.push_back(d);
    if (d * d != n) large.push_back(n / d);
  }
  small.insert(small.end(), large.rbegin(), large.rend());
  return small;
}

constexpr double kLeastSquare = 1e-12;
constexpr std::int64_t kFewestBlocks = 4, kLongest = 1024;
constexpr std::int64_t kShortestOfNeighbours = 9, kShortestOfVariance = 8, kLongestRow = 2048;

// mean_b |l_b+1 - l_b| for blocks of p; logs [n] in float64.
double mean_jump(const at::Tensor& logs, std::int64_t p) {
  const auto means = row_means(logs.view({-1, p})).view({-1});
  const auto jumps = means.numel() - 1;
  return (fixed_sum((means.narrow(0, 1, jumps) - means.narrow(0, 0, jumps)).abs()) / double(jumps))
      .item<double>();
}

// sqrt(mean_b var_b) for blocks of p; squares [n] in float64.
double deviation_within(const at::Tensor& squares, std::int64_t p) {
  const auto blocks = squares.view({-1, p});
  return root_mean_square(blocks - row_means(blocks)).item<double>();
}

// 1 where there is no peak.
std::int64_t block_of_neighbours(const at::Tensor& squares) {
  const auto n = squares.numel();
  const auto logs = (squares + kLeastSquare).log_();
  std::vector<std::int64_t> lengths;
  std::vector<double> scores;
  for (const auto p : divisors(n)) {
    if (n / p < kFewestBlocks) break;
    lengths.push_back(p);
    scores.push_back(mean_jump(logs, p));
  }
  std::int64_t best = 1;
  double highest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i + 1 < lengths.size(); ++i) {
    const bool peak = scores[i] > scores[i - 1] && scores[i] > scores[i + 1];
    if (lengths[i] < kShortestOfNeighbours || !peak || scores[i] < highest) continue;
    best = lengths[i];
    highest = scores[i];
  }
  if (best <= kLongest) return best;
  const auto within = divisors(best);
  return *std::ranges::upper_bound(within, kLongest);
}

// 1 where nothing drops, or drops most below 8.
std::int64_t block_of_variance(const at::Tensor& squares) {
  const auto n = squares.numel();
  std::int64_t best = 1;
  double before = 0.0, least = kLeastSquare;  // e(1) = 0; their bound of a drop
  for (const auto p : divisors(n)) {
    if (p == 1 || p == n) continue;
    const double error = deviation_within(squares, p);
    if (error - before < least) {
      best = p;
      least = error - before;
    }
    before = error;
  }
  return best < kShortestOfVariance ? 1 : best;
}

class Gefen : public UpdateRule {
 public:
  using Options = GefenOptions;
  explicit Gefen(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs{{"exp_avg", parameter.shape}};
    if (factored(parameter)) {
      add_factored_moment(specs, parameter, "exp_avg_sq");
    } else {
      specs.push_back({"exp_avg_sq",
                       {parameter.size() / shortest(parameter)},
                       StateUse::non_negative,
                       at::kFloat,
                       parameter.size()});
    }
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0));
    m.mul_(options_.beta1).add_(g, 1.0 - options_.beta1);
    const double t = double(scope.step);
    const double bias1 = 1.0 - std::pow(options_.beta1, t);
    const double bias2 = 1.0 - std::pow(options_.beta2, t);
    const auto direction =
        factored(p.parameter) ? by_factors(p, g, m, bias2) : by_blocks(p, g, m, bias2);
    return take_step(
        as_matrix(p, p.weight), direction,
        {scope.learning_rate / bias1, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  bool factored(const Parameter& parameter) const {
    return options_.second_moment == "factored" && parameter.is_matrix();
  }

  // The length where no blocks are found.
  std::int64_t without_blocks(const Parameter& parameter) const {
    if (options_.without_blocks == "elements") return 1;
    const auto lengths = divisors(parameter.size());
    const auto longest = *std::prev(std::ranges::upper_bound(lengths, kLongestRow));
    return parameter.is_matrix() ? std::max(parameter.columns(), longest) : longest;
  }

  // The least length that blocks of a tensor may have.
  std::int64_t shortest(const Parameter& parameter) const {
    const auto least = options_.blocks == "variance" ? kShortestOfVariance : kShortestOfNeighbours;
    const auto lengths = divisors(parameter.size());
    const auto found = std::ranges::lower_bound(lengths, least);
    const auto otherwise = without_blocks(parameter);
    return found == lengths.end() ? otherwise : std::min(*found, otherwise);
  }

  // m / (sqrt(v / bias2) + eps), [rows, columns]; v from the means of g^2 by block.
  at::Tensor by_blocks(const ParameterStep& p, const at::Tensor& g, const at::Tensor& m,
                       double bias2) const {
    const auto& v = p.state.load(1);
    if (v.numel() == 0) {
      if (!g.any().item<bool>()) return at::zeros_like(m);
      p.state.choose_size(1, g.numel() / block_length(p.parameter, g));
    }
    const auto length = g.numel() / v.numel();
    const auto means = row_means(g.square().view({-1, length})).view({-1});
    v.mul_(options_.beta2).add_(means, 1.0 - options_.beta2);
    const auto root = (v / bias2).sqrt_().add_(options_.eps);
    return (m.view({-1, length}) / root.view({-1, 1})).view(m.sizes());
  }

  at::Tensor by_factors(const ParameterStep& p, const at::Tensor& g, const at::Tensor& m,
                        double bias2) const {
    const FactoredMoment moment(p.parameter, p.state, 1);
    moment.average(g.square(), 1.0 - options_.beta2);
    return m /
           (moment.product(std::numeric_limits<float>::min()) / bias2).sqrt_().add_(options_.eps);
  }

  std::int64_t block_length(const Parameter& parameter, const at::Tensor& g) const {
    const auto squares = g.contiguous().view({-1}).to(at::kDouble).square_();
    const auto found =
        options_.blocks == "variance" ? block_of_variance(squares) : block_of_neighbours(squares);
    return found > 1 ? found : without_blocks(parameter);
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_gefen() {
  return rule_spec<Gefen>(
      {"gefen", "AdamW with one second moment per block that the first gradient shows"});
}

}  // namespace blockwise
