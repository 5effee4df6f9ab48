// Blocks of a model and their statistics against dense matrices.
#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/base/statistics.hpp"
#include "core/partition/partition_rules.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/dense.hpp"
#include "hessian/hessian_parts.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_curvature.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Setup : SmallCurvature {
  std::vector<HessianPart> select(PartSelection selection) const {
    return select_parts(store.layout(), selection);
  }
};

at::Tensor gaussian(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn(sizes, generator, at::kDouble);
}

// 64 atoms of 6 elements in groups that are coupled by rank-5 matrices, over noise.
struct Planted {
  at::Tensor matrix, labels;
};
Planted planted(double noise, std::int64_t groups = 8) {
  const std::int64_t n = 384;
  const auto labels = at::arange(n).div(n / groups, "floor");
  auto a = at::zeros({n, n}, at::kDouble);
  for (std::int64_t g = 0; g < groups; ++g) {
    const auto f = gaussian({n / groups, 5}, static_cast<std::uint64_t>(g));
    a.narrow(0, g * n / groups, n / groups).narrow(1, g * n / groups, n / groups) += f.mm(f.t());
  }
  const auto e = gaussian({n, n}, 99);
  const double scale = noise * a.norm().item<double>() / e.norm().item<double>();
  return {a + scale * (e + e.t()) / std::numbers::sqrt2, labels};
}

}  // namespace

TEST_CASE("Parts cover what they name, and their operators are blocks of the Hessian") {
  const Setup s;
  const CurvatureOperator whole(*s.curvature, CurvatureKind::hessian,
                                ParameterSubset(s.store.layout()));
  const auto dense = to_dense(whole);
  for (const auto each : {PartKind::model, PartKind::layer, PartKind::role, PartKind::tensor}) {
    std::int64_t elements = 0;
    for (const auto& block : s.select({.each = each})) elements += block.size();
    CHECK(elements == s.store.layout().size());
  }
  const auto head = s.select(
      {.each = PartKind::head, .roles = {ParameterRole::key}, .layers = {1}, .index = {1}});
  REQUIRE(head.size() == 1);
  CHECK(head[0].name == "transformer.h.1.attn.c_attn.weight key head 1");
  const auto& c_attn =
      s.store.layout()
          .parameters()[s.store.layout().index_of("transformer.h.1.attn.c_attn.weight")];
  // Width 8, two heads of 4: rows 12 to 15 of the 24.
  const auto begin = c_attn.offset + 12 * 8;
  const auto expected = dense.narrow(0, begin, 32).narrow(1, begin, 32);
  const auto found = to_dense(PartOperator(*s.curvature, CurvatureKind::hessian, head[0]));
  CHECK((found - expected).abs().max().item<double>() < 1e-10);
  const auto columns =
      s.select({.each = PartKind::column, .roles = {ParameterRole::lm_head}, .index = {2}});
  REQUIRE(columns.size() == 1);
  const auto& lm_head = s.store.layout().parameters()[s.store.layout().index_of("lm_head.weight")];
  const auto index = at::arange(11) * 8 + 2 + lm_head.offset;
  const auto block = dense.index_select(0, index).index_select(1, index);
  const auto column = to_dense(PartOperator(*s.curvature, CurvatureKind::hessian, columns[0]));
  CHECK((column - block).abs().max().item<double>() < 1e-10);
  CHECK_THROWS_WITH(s.select({.each = PartKind::tensor, .roles = {ParameterRole::router}}),
                    Contains("no part matches; the model has the roles attention_output, bias") &&
                        Contains("layers 0 to 1"));
}

TEST_CASE("A partition's labels number its groups") {
  const Setup s;
  for (const auto& rule : partition_rule_names()) {
    const auto partition = make_partition(s.store.layout(), rule);
    for (std::size_t i = 0; i < partition.tensors().size(); ++i) {
      const auto& tensor = partition.tensors()[i];
      const auto labels = tensor.labels();
      REQUIRE(static_cast<std::int64_t>(labels.size()) == s.store.layout().parameters()[i].size());
      std::vector<std::int64_t> sizes(static_cast<std::size_t>(tensor.block_count()));
      for (const auto label : labels) ++sizes.at(static_cast<std::size_t>(label));
      CHECK(std::ranges::count(sizes, 0) == 0);
    }
  }
  const auto heads = make_partition(s.store.layout(), "adam_mini");
  const auto qkv = s.store.layout().index_of("transformer.h.0.attn.c_attn.weight");
  const auto labels = heads.tensors()[qkv].labels();
  CHECK(labels[0] == labels[4 * 8 - 1]);        // query head 0
  CHECK(labels[4 * 8] == 1);                    // query head 1
  CHECK(labels[16 * 8] == labels[16 * 8 + 7]);  // value row 0
  CHECK(labels[17 * 8] == labels[16 * 8] + 1);
}

// Energies of planted blocks: within four standard errors of the truth, and errors that shrink.
TEST_CASE("Sign-coded probes measure the energy inside blocks") {
  for (const double noise : {0.0, 0.3, 1.0}) {
    const auto p = planted(noise);
    const DenseOperator a(p.matrix);
    const double whole = p.matrix.square().sum().item<double>();
    const double exact = inside_energy(p.matrix, p.labels) / whole;
    const auto found = block_energies(a, p.labels, 8, {.vectors = 12, .codes = 8, .seed = 5});
    INFO("noise " << noise << " share " << found.share << " +- " << found.share_error << " exact "
                  << exact);
    CHECK(found.products == 96);
    CHECK(std::abs(found.share - exact) < 4.0 * found.share_error + 1e-12);
    CHECK(found.share_error < 0.05);
    CHECK(std::abs(found.whole.value - whole) < 4.0 * found.whole.standard_error);
    // A wrong grouping of equal sizes holds what chance gives it.
    const auto shuffled =
        p.labels.index_select(0, at::randperm(384, make_generator(1, RandomStream::data)));
    const auto chance = block_energies(a, shuffled, 8, {.vectors = 12, .codes = 8, .seed = 6});
    const double diagonal = p.matrix.diagonal().square().sum().item<double>() / whole;
    CHECK(std::abs(chance.share - random_share(shuffled, 8, diagonal)) <
          4.0 * chance.share_error + 0.02);
    CHECK(coupling_lift(found.share, random_share(p.labels, 8, diagonal)) > 0.3);
  }
}

// Over 200 repetitions, as for traces: the 95 % intervals of shares cover 90 to 99 % of the time.
TEST_CASE("Intervals of energy shares are honest") {
  const auto p = planted(0.5);
  const DenseOperator a(p.matrix);
  const double whole = p.matrix.square().sum().item<double>();
  const double inside = inside_energy(p.matrix, p.labels) / whole;
  const double diagonal = p.matrix.diagonal().square().sum().item<double>() / whole;
  const double t12 = student_t_quantile(11.0);
  const double t10 = student_t_quantile(9.0);
  int shares = 0, diagonals = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto found = block_energies(a, p.labels, 8, {.vectors = 12, .codes = 4, .seed = seed});
    shares += std::abs(found.share - inside) <= t12 * found.share_error ? 1 : 0;
    const auto tau = diagonal_share(a, {.products = 60, .seed = seed});
    diagonals += std::abs(tau.share - diagonal) <= t10 * tau.standard_error ? 1 : 0;
  }
  INFO("shares " << shares << ", diagonals " << diagonals << " of 200");
  CHECK(shares >= 180);
  CHECK(shares <= 198);
  CHECK(diagonals >= 180);
  CHECK(diagonals <= 198);
}

TEST_CASE("The diagonal's share and the homogeneity of blocks") {
  const auto p = planted(0.5);
  const DenseOperator a(p.matrix);
  const auto diagonal = p.matrix.diagonal();
  const double exact =
      diagonal.square().sum().item<double>() / p.matrix.square().sum().item<double>();
  const auto found = diagonal_share(a, {.products = 200, .seed = 2});
  CHECK(std::abs(found.share - exact) < 4.0 * found.standard_error);
  CHECK(found.standard_error < 0.1 * exact);
  // A diagonal that is constant in blocks, up to noise that differs between the estimates.
  const auto labels = at::arange(400).div(50, "floor");
  const auto level = gaussian({8}, 1).exp().index_select(0, labels);
  const auto noisy = [&](std::uint64_t seed) {
    return level * (0.3 * gaussian({400}, seed)).exp();
  };
  CHECK(std::abs(inside_variance(noisy(2), noisy(3), labels, 8)) < 0.05);
  CHECK(inside_variance(noisy(2), noisy(2), labels, 8) > 0.05);  // the noise itself
  const auto wrong = at::arange(400).remainder(8);
  CHECK(inside_variance(noisy(2), noisy(3), wrong, 8) > 0.9);
}

TEST_CASE("Trace and norm come from the same products") {
  const auto p = planted(0.2);
  const DenseOperator a(p.matrix);
  std::int64_t products = 0;
  const FunctionOperator counted(384, at::kDouble, [&](const at::Tensor& x) {
    ++products;
    return a(x);
  });
  const auto both = trace_and_norm(counted, {.products = 50, .seed = 3});
  CHECK(products == 50);
  CHECK(both.trace.value == hutchinson_trace(a, {.products = 50, .seed = 3}).value);
  CHECK(both.squared_frobenius_norm.value ==
        squared_frobenius_norm(a, {.products = 50, .seed = 3}).value);
}
