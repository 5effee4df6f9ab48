// Groups of atoms: planted, absent, and what the agreement of groupings says.
#include "hessian/evidence/atom_graph.hpp"

#include <ATen/ATen.h>

#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

// Of pairs that are together, `found` against `truth`: 2 precision recall / (precision + recall).
double pair_f1(const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& truth) {
  double both = 0.0, either = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const bool a = found[i] == found[j], b = truth[i] == truth[j];
      both += a && b ? 1.0 : 0.0;
      either += (a ? 1.0 : 0.0) + (b ? 1.0 : 0.0);
    }
  }
  return either > 0.0 ? 2.0 * both / either : 1.0;
}

constexpr std::int64_t kAtoms = 64, kGroups = 8, kAtomSize = 6;

struct Planted {
  at::Tensor matrix, labels;
  std::vector<std::int64_t> truth;
};

at::Tensor normal(std::vector<std::int64_t> shape, at::Generator& g) {
  return at::randn(shape, g, at::kDouble);
}

// 64 atoms of 6 elements in 8 groups at random; every group is a random matrix of rank 5 over its
// elements, and symmetric noise of `noise` times their Frobenius norm lies over all of it.
Planted planted(double noise, std::uint64_t seed) {
  auto g = at::make_generator<at::CPUGeneratorImpl>(seed);
  Planted p;
  const auto n = kAtoms * kAtomSize;
  p.labels = at::arange(n, at::kLong).div(kAtomSize, "floor");
  const auto order = at::randperm(kAtoms, g, at::kLong);
  for (std::int64_t a = 0; a < kAtoms; ++a) {
    p.truth.push_back(order[a].item<std::int64_t>() % kGroups);
  }
  const auto group = at::tensor(p.truth, at::kLong).index_select(0, p.labels);
  p.matrix = at::zeros({n, n}, at::kDouble);
  for (std::int64_t k = 0; k < kGroups; ++k) {
    const auto factor = normal({n, 5}, g) * group.eq(k).unsqueeze(1);
    p.matrix += factor.matmul(factor.t());
  }
  auto bulk = normal({n, n}, g);
  bulk = bulk + bulk.t();
  p.matrix += bulk * (noise * p.matrix.norm() / bulk.norm());
  return p;
}

std::vector<std::int64_t> numbers(std::initializer_list<std::int64_t> values) { return values; }

}  // namespace

TEST_CASE("atoms: eight planted groups of 64 atoms are found from 96 products") {
  for (const double noise : {0.0, 0.25, 0.5, 1.0}) {
    double f1 = 0.0;
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      const auto p = planted(noise, seed);
      const DenseOperator a(p.matrix);
      const auto graph = atom_graph(a, p.labels, kAtoms, {2, 48, seed});
      CHECK(graph.products == 96);
      f1 += pair_f1(group_atoms(graph), p.truth) / 8.0;
    }
    INFO("noise " << noise);
    CHECK(f1 >= 0.97);
  }
}

TEST_CASE("atoms: links are unbiased, and within their noise with many codes") {
  const auto p = planted(0.5, 7);
  const DenseOperator a(p.matrix);
  const auto exact =
      p.matrix.square().view({kAtoms, kAtomSize, kAtoms, kAtomSize}).sum(at::IntArrayRef{1, 3});
  const auto mean_error = [&](const CodePlan& plan) {
    const auto graph = atom_graph(a, p.labels, kAtoms, plan);
    CHECK(at::equal(graph.links, graph.links.t()));
    return ((graph.links - exact).sum() / exact.sum()).abs().item<double>();
  };
  // The sum over 4096 pairs: the spread of 400 probes' ||A v||^2, about sqrt(2 / (400 * 40)).
  CHECK(mean_error({20, 20, 3}) < 4.0 * std::sqrt(2.0 / (400.0 * 40.0)));
}

TEST_CASE("atoms: noise alone has no groups that agree, a diagonal none at all") {
  auto g = at::make_generator<at::CPUGeneratorImpl>(5);
  const auto n = kAtoms * kAtomSize;
  const auto labels = at::arange(n, at::kLong).div(kAtomSize, "floor");
  auto bulk = normal({n, n}, g);
  bulk = bulk + bulk.t();
  const DenseOperator noise(bulk);
  const auto first = group_atoms(atom_graph(noise, labels, kAtoms, {2, 48, 1}));
  const auto second = group_atoms(atom_graph(noise, labels, kAtoms, {2, 48, 2}));
  CHECK(std::abs(adjusted_rand(first, second)) < 0.1);
  const DenseOperator diagonal(at::rand({n}, g, at::kDouble).diag());
  const auto alone = group_atoms(atom_graph(diagonal, labels, kAtoms, {2, 48, 1}));
  CHECK(*std::max_element(alone.begin(), alone.end()) == kAtoms - 1);
}

TEST_CASE("atoms: agreement of groupings in closed form") {
  const auto a = numbers({0, 0, 1, 1});
  CHECK(adjusted_rand(a, numbers({5, 5, 2, 2})) == 1.0);
  CHECK(pair_f1(a, numbers({5, 5, 2, 2})) == 1.0);
  // Pairs: 2 in a, 2 in b, none in both, 6 in all: (0 - 2/3) / (2 - 2/3).
  CHECK(adjusted_rand(a, numbers({0, 1, 0, 1})) == Approx(-0.5));
  CHECK(pair_f1(a, numbers({0, 1, 0, 1})) == 0.0);
  // 6 pairs found, 2 of them true, of 2: precision 1/3, recall 1.
  CHECK(pair_f1(numbers({0, 0, 0, 0}), a) == Approx(0.5));
}
