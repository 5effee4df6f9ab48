#include "hessian/block_energies.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

// x_b = sum of x over the elements of block b.
at::Tensor block_sums(const at::Tensor& x, const at::Tensor& labels, std::int64_t count) {
  return at::zeros({count}, at::kDouble).index_add_(0, labels, x);
}

// Mean and its standard error over the rows of samples [vectors, ...].
Estimate estimate(const at::Tensor& samples, std::int64_t products) {
  const auto n = samples.size(0);
  const double mean = samples.mean().item<double>();
  const double error =
      n < 2 ? 0.0 : samples.std(0, /*unbiased=*/true).item<double>() / std::sqrt(double(n));
  return {mean, error, products, n};
}

// One v under all its codes.
struct CodedVector {
  at::Tensor inside;   // float64 [blocks], unbiased for ||A_bb v_b||^2
  double whole = 0.0;  // the mean of ||A (s . v)||^2
};

CodedVector coded_vector(const LinearOperator& a, const at::Tensor& labels,
                         std::int64_t block_count, const CodePlan& plan, std::int64_t vector) {
  const auto v = signs(a.columns(), plan.seed, vector, 0);
  auto sum = at::zeros({a.rows()}, at::kDouble);
  auto squares = at::zeros({block_count}, at::kDouble);
  double total = 0.0;
  for (std::int64_t k = 0; k < plan.codes; ++k) {
    // y^k = s^k . A (s^k . v): its part in block b is A_bb v_b + sum over c != b of s_b s_c A_bc
    // v_c
    const auto code = signs(block_count, plan.seed, vector, k + 1);
    const auto coded = code.index_select(0, labels);
    const auto y = a((coded * v).to(a.options())).to(at::kCPU, at::kDouble).mul_(coded);
    // sum_k y^k, and sum_k |y^k_b|^2 of every block
    sum += y;
    const auto squared = y.square();
    squares += block_sums(squared, labels, block_count);
    total += squared.sum().item<double>();
  }
  // mean over k != l of y^k_b . y^l_b = (|sum_k y^k_b|^2 - sum_k |y^k_b|^2) / (K (K - 1))
  const double pairs = double(plan.codes * (plan.codes - 1));
  return {(block_sums(sum.square(), labels, block_count) - squares).div_(pairs),
          total / double(plan.codes)};
}

// inside [vectors, blocks], whole [vectors].
BlockEnergies summary(const at::Tensor& inside, const at::Tensor& whole, std::int64_t products) {
  BlockEnergies result;
  for (std::int64_t b = 0; b < inside.size(1); ++b) {
    result.blocks.push_back(estimate(inside.select(1, b), products));
  }
  const auto sums = inside.sum(1);
  result.inside = estimate(sums, products);
  result.whole = estimate(whole, products);
  result.share = result.inside.value / result.whole.value;
  // Of a ratio of means r = x / y: the spread of x - r y.
  result.share_error =
      estimate(sums - result.share * whole, products).standard_error / result.whole.value;
  result.products = products;
  return result;
}

}  // namespace

BlockEnergies block_energies(const LinearOperator& a, const at::Tensor& labels,
                             std::int64_t block_count, const CodePlan& plan) {
  check_equal(labels.numel(), a.rows(), "labels of an operator's rows");
  require_input(plan.vectors >= 2 && plan.codes >= 2,
                "{} vectors with {} codes each, at least 2 of both are needed", plan.vectors,
                plan.codes);
  auto inside = at::empty({plan.vectors, block_count}, at::kDouble);
  auto whole = at::empty({plan.vectors}, at::kDouble);
  for (std::int64_t i = 0; i < plan.vectors; ++i) {
    const auto one = coded_vector(a, labels, block_count, plan, i);
    inside.select(0, i).copy_(one.inside);
    whole[i] = one.whole;
  }
  return summary(inside, whole, plan.vectors * plan.codes);
}

double inside_energy(const at::Tensor& matrix, const at::Tensor& labels) {
  // sum of A_ij^2 over i, j of one block
  const auto same = labels.unsqueeze(0).eq(labels.unsqueeze(1));
  return (matrix.square() * same).sum().item<double>();
}

double random_share(const at::Tensor& labels, std::int64_t block_count, double diagonal_share) {
  const double n = double(labels.numel());
  if (n < 2.0) return 1.0;
  const auto sizes = block_sums(at::ones({labels.numel()}, at::kDouble), labels, block_count);
  // sum n_b (n_b - 1): ordered pairs of different elements that share a block
  const double pairs = (sizes * (sizes - 1.0)).sum().item<double>();
  return diagonal_share + (1.0 - diagonal_share) * pairs / (n * (n - 1.0));
}

double coupling_lift(double share, double random) {
  return random < 1.0 ? (share - random) / (1.0 - random) : 0.0;
}

double inside_variance(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                       std::int64_t block_count) {
  const auto used = first.ne(0.0).logical_and(second.ne(0.0)).nonzero().squeeze(1);
  if (used.numel() < 2) return 1.0;
  const auto x = first.index_select(0, used).abs().log();
  const auto y = second.index_select(0, used).abs().log();
  const auto label = labels.index_select(0, used);
  // n cov(x, y) in all, and of what the blocks' means leave over
  const double whole = ((x - x.mean()) * (y - y.mean())).sum().item<double>();
  const auto sizes = block_sums(at::ones_like(x), label, block_count);
  const auto mean_of = [&](const at::Tensor& values) {
    return (block_sums(values, label, block_count) / sizes.clamp_min(1.0)).index_select(0, label);
  };
  const double inside = ((x - mean_of(x)) * (y - mean_of(y))).sum().item<double>();
  return whole > 0.0 ? inside / whole : 1.0;
}

DiagonalShare diagonal_share(const LinearOperator& a, const SamplingPlan& plan) {
  constexpr auto kGroups = kDiagonalShareGroups;
  require_input(plan.products >= 2 * kGroups, "{} products for a diagonal's share, at least {} ",
                plan.products, 2 * kGroups);
  const auto each = plan.products / kGroups;
  auto halves = at::zeros({2, a.rows()}, at::kDouble);
  auto shares = at::empty({kGroups}, at::kDouble), energies = at::empty({kGroups}, at::kDouble);
  for (std::int64_t g = 0; g < kGroups; ++g) {
    auto sum = at::zeros({a.rows()}, at::kDouble);
    double squares = 0.0, energy = 0.0;
    for (std::int64_t k = 0; k < each; ++k) {
      // d = z . A z has the mean diag(A);  E |A z|^2 = ||A||_F^2
      const auto z = signs(a.columns(), plan.seed, g * each + k, 0);
      const auto y = a(z.to(a.options())).to(at::kCPU, at::kDouble);
      const auto d = y * z;
      sum += d;
      squares += d.square().sum().item<double>();
      energy += y.square().sum().item<double>();
    }
    // mean over k != l of d^k . d^l, unbiased for |diag(A)|^2
    shares[g] = (sum.square().sum().item<double>() - squares) / double(each * (each - 1));
    energies[g] = energy / double(each);
    halves.select(0, g % 2) += sum / double(each * kGroups / 2);
  }
  const double whole = energies.mean().item<double>();
  const auto products = each * kGroups;
  // The error of a ratio of means: the spread of |diag|^2 - share |A|^2, over |A|^2.
  const double share = shares.mean().item<double>() / whole;
  return {share, estimate(shares - share * energies, products).standard_error / whole,
          halves.select(0, 0), halves.select(0, 1), products};
}

}  // namespace blockwise
