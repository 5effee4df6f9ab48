#include "hessian/evidence/partition_fidelity.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

at::Tensor code_signs(std::int64_t count, std::uint64_t seed, std::int64_t code) {
  return rademacher(
      {count}, probe_generator(seed, ProbePlace::fidelity_codes, static_cast<std::uint64_t>(code)));
}

// Cosine and relative error from the codes in `used`: gram [K, K] of a_k . a_l, along [K] of
// a_k . A x, and ||A x||^2.
std::pair<double, double> fidelity(const at::Tensor& gram, const at::Tensor& along, double square,
                                   const at::Tensor& used) {
  const auto k = double(used.numel());
  // |B x|^2 for the block-diagonal part B of A: mean over k != l of a_k . a_l
  const auto g = gram.index_select(0, used).index_select(1, used);
  const double inside =
      (g.sum().item<double>() - g.diagonal().sum().item<double>()) / (k * (k - 1.0));
  // B x . A x: mean over k of a_k . A x
  const double both = along.index_select(0, used).mean().item<double>();
  // cos = B x . A x / (|B x| |A x|),  error = |A x - B x| / |A x|
  const double length = std::sqrt(std::max(inside, 0.0) * square);
  return {length > 0.0 ? std::clamp(both / length, -1.0, 1.0) : 0.0,
          std::sqrt(std::max(0.0, square - 2.0 * both + inside) / square)};
}

double jackknife(const std::vector<double>& without) {
  const double n = double(without.size());
  double mean = 0.0, squares = 0.0;
  for (const double x : without) mean += x / n;
  for (const double x : without) squares += (x - mean) * (x - mean);
  return std::sqrt(squares * (n - 1.0) / n);
}

}  // namespace

PartitionFidelity partition_fidelity(const LinearOperator& a, const at::Tensor& labels,
                                     std::int64_t block_count, const at::Tensor& x,
                                     const FidelityPlan& plan) {
  const auto [codes, seed] = plan;
  check_equal(labels.numel(), a.rows(), "labels of an operator's rows");
  require_input(codes >= 3, "{} codes, at least 3 are needed", codes);
  const auto host = x.to(at::kCPU, at::kDouble);
  const auto product = [&](const at::Tensor& v) {
    return a(v.to(a.options())).to(at::kCPU, at::kDouble);
  };
  const auto y = product(host);
  const double square = y.square().sum().item<double>();
  require_input(square > 0.0, "the matrix takes this vector to 0");
  std::vector<at::Tensor> coded;
  for (std::int64_t k = 0; k < codes; ++k) {
    // a_k = s . A (s . x): B x plus what s turns to noise of mean 0
    const auto s = code_signs(block_count, seed, k).index_select(0, labels);
    coded.push_back(product(s * host).mul_(s));
  }
  const auto rows = at::stack(coded);
  const auto gram = rows.mm(rows.t()), along = rows.mv(y);
  const auto all = at::arange(codes, at::kLong);
  std::vector<double> cosines, errors;
  for (std::int64_t k = 0; k < codes; ++k) {
    const auto [cosine, error] = fidelity(gram, along, square, all.masked_select(all.ne(k)));
    cosines.push_back(cosine);
    errors.push_back(error);
  }
  const auto [cosine, error] = fidelity(gram, along, square, all);
  return {cosine, error, jackknife(cosines), jackknife(errors), codes + 1};
}

}  // namespace blockwise
