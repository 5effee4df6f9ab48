// What discovery rests on: energies of planted blocks by level, and evidence from second moments.
#include <cmath>

#include "core/error.hpp"
#include "core/random_stream.hpp"
#include "hessian/best_rate.hpp"
#include "hessian/moment_evidence.hpp"
#include "hessian/partition_energies.hpp"
#include "hessian/partition_fidelity.hpp"
#include "hessian/saved_tensors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor gaussian(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn(sizes, generator, at::kDouble);
}

// 64 atoms of 6 elements in 8 hidden groups of 8 atoms: in every group a block of rank 5, between
// everything noise of `noise` times its energy.
struct Planted {
  at::Tensor matrix, groups, atoms;
};

Planted planted(double noise) {
  const std::int64_t atoms = 64, size = 6, n = atoms * size;
  auto generator = make_generator(3, RandomStream::data);
  const auto group_of = at::randperm(atoms, generator, at::kLong).remainder(8);
  Planted p;
  p.atoms = at::arange(n, at::kLong).div(size, "floor");
  p.groups = group_of.index_select(0, p.atoms);
  auto factors = gaussian({n, 5}, 4);
  const auto same = p.groups.unsqueeze(0).eq(p.groups.unsqueeze(1));
  auto signal = factors.mm(factors.t()) * same;
  auto background = gaussian({n, n}, 5);
  background = background + background.t();
  background *= noise * signal.norm() / background.norm();
  p.matrix = signal + background;
  return p;
}

PartitionEnergies measured(const LinearOperator& a, const std::vector<VectorSection>& sections,
                           const std::vector<EnergyLevel>& levels, const CodePlan& plan) {
  PartitionProbes probes(a, sections, levels, plan);
  CHECK(probes.run({}, [] { return true; }));
  return probes.result();
}

PartitionSection section(std::int64_t rows, std::int64_t columns, Structure structure) {
  return {ParameterRole::other, "", 0, rows, columns, std::move(structure)};
}

}  // namespace

// Two sections, three levels: every sum of energies within its error of the truth.
TEST_CASE("Shared probes measure the energies of every level and section") {
  const auto p = planted(0.5);
  const DenseOperator a(p.matrix);
  const std::int64_t n = 384;
  const std::vector<VectorSection> sections = {{0, 192}, {192, 192}};
  const auto half = at::arange(n, at::kLong).div(192, "floor");
  const auto atom_pairs = at::arange(n, at::kLong).div(12, "floor");
  const std::vector<EnergyLevel> levels = {{half, 2}, {atom_pairs, 32}, {p.atoms, 64}};
  const auto found = measured(a, sections, levels, {.vectors = 40, .codes = 4, .seed = 3});
  const auto squares = p.matrix.square();
  for (std::size_t l = 0; l < levels.size(); ++l) {
    const auto& labels = levels[l].labels;
    const auto inside = squares * labels.unsqueeze(0).eq(labels.unsqueeze(1));
    for (std::int64_t s = 0; s < 2; ++s) {
      const double truth = inside.narrow(0, s * 192, 192).sum().item<double>();
      const auto samples = found.inside[l].select(1, s);
      const double error = samples.std().item<double>() / std::sqrt(40.0);
      INFO("level " << l << " section " << s);
      CHECK(std::abs(samples.mean().item<double>() - truth) < 4.0 * error);
      CHECK(error < 0.25 * truth);
    }
  }
  for (std::int64_t s = 0; s < 2; ++s) {
    const double truth = p.matrix.diagonal().narrow(0, s * 192, 192).square().sum().item<double>();
    CHECK(found.diagonal[s].item<double>() == Approx(truth).epsilon(0.4));
  }
}

TEST_CASE("Probes that were stopped go on with the same bits") {
  const auto p = planted(0.3);
  const DenseOperator a(p.matrix);
  const std::vector<VectorSection> sections = {{0, 384}};
  const std::vector<EnergyLevel> levels = {{p.groups, 8}, {p.atoms, 64}};
  const CodePlan plan{.vectors = 5, .codes = 3, .seed = 1};
  const auto whole = measured(a, sections, levels, plan);
  const TemporaryFolder folder;
  PartitionProbes first(a, sections, levels, plan);
  int vectors = 0, products = 0;
  CHECK(!first.run([&] { ++products; }, [&] { return ++vectors < 2; }));
  CHECK(products == 2 * 2 * 3);
  save_state(folder / "p.h5", [&](Hdf5File& file) { first.save(file, "/probes"); });
  PartitionProbes second(a, sections, levels, plan);
  second.load(Hdf5File::open_for_reading(folder / "p.h5"), "/probes");
  CHECK(second.run([&] { ++products; }, [] { return true; }));
  CHECK(products == first.products());
  for (std::size_t l = 0; l < levels.size(); ++l) {
    CHECK(at::equal(second.result().inside[l], whole.inside[l]));
  }
  CHECK(at::equal(second.result().diagonal, whole.diagonal));
}

// log v = row + column effects plus noise that differs between the estimates.
TEST_CASE("The variance of log v inside groups is what was put there") {
  const std::int64_t rows = 24, columns = 32;
  const auto row = 1.0 * gaussian({rows, 1}, 1), column = 0.5 * gaussian({1, columns}, 2);
  std::vector<at::Tensor> v;
  for (std::uint64_t g = 0; g < 4; ++g) {
    v.push_back((row + column + 0.4 * gaussian({rows, columns}, 10 + g)).exp());
  }
  // Variances 1 and 0.25 as drawn: a value per row leaves the column effects' share.
  const double by_row = row.var(false).item<double>(), by_column = column.var(false).item<double>();
  const auto inside = [&](Structure s) {
    return inside_log_variance(v, section(rows, columns, std::move(s)));
  };
  const auto close = [](const Inside& found, double truth) {
    CHECK(found.share == Approx(truth).margin(0.03));  // noise products: 0.16 / sqrt(6 * 768)
    CHECK(found.standard_error < 0.03);
  };
  close(inside(Structure::tiles(1, columns)), by_column / (by_row + by_column));
  close(inside(Structure::tiles(rows, 1)), by_row / (by_row + by_column));
  close(inside(Structure::tiles(rows, columns)), 1.0);
  close(inside(Structure::factored(rows)), 0.0);
  close(inside(Structure::per_element()), 0.0);
  // One estimate's own noise would count as variance.
  CHECK(inside_log_variance({v[0], v[0], v[0]}, section(rows, columns, Structure::factored(rows)))
            .share > 0.08);
}

TEST_CASE("Signal to noise is mean over spread, by groups") {
  // Rows constant but for a factor 1 +- 0.5: ratio 1 / 0.25 within rows.
  const auto wave = at::tensor({0.5, 1.5}, at::kDouble).repeat({8}).unsqueeze(0);
  const auto v = gaussian({10, 1}, 3).exp() * wave;
  CHECK(signal_to_noise(v, section(10, 16, Structure::tiles(1, 16))) == Approx(4.0));
  CHECK(signal_to_noise(v, section(10, 16, Structure::tiles(10, 1))) < 4.0);
  CHECK(std::isinf(signal_to_noise(v, section(10, 16, Structure::per_element()))));
}

TEST_CASE("Estimates of the diagonal come from disjoint vectors, and their mean is the diagonal") {
  const auto p = planted(0.2);
  const DenseOperator a(p.matrix);
  const std::vector<VectorSection> sections = {{0, 384}};
  const CodePlan plan{.vectors = 202, .codes = 2, .seed = 5};
  const auto found = measured(a, sections, {{p.atoms, 64}}, plan);
  REQUIRE(found.diagonals.size() == 4);
  const auto truth = p.matrix.diagonal();
  auto mean = at::zeros_like(truth);
  for (const auto& d : found.diagonals) mean += d / 4.0;
  // An estimate from one vector is off by the row's other elements, of which two codes leave at
  // most all; over 202 vectors that is a root of 202 less. 5 of them for 384 elements.
  const auto noise = (p.matrix.square().sum(1) - truth.square()).sqrt() / std::sqrt(202.0);
  CHECK(((mean - truth).abs() < 5.0 * noise).all().item<bool>());
  CHECK(((mean - truth).norm() / truth.norm()).item<double>() < 0.15);
  // Groups share no vector: what they are off by does not agree.
  const auto first = found.diagonals[0] - truth, second = found.diagonals[1] - truth;
  CHECK(std::abs((first.dot(second) / (first.norm() * second.norm())).item<double>()) < 0.25);
  // Fewer vectors than groups.
  CHECK(measured(a, sections, {{p.atoms, 64}}, {.vectors = 3, .codes = 2, .seed = 5})
            .diagonals.size() == 3);
}

TEST_CASE("Cosine and error of the blocks' product are those of the matrix") {
  for (const double noise : {0.0, 0.5}) {
    const auto p = planted(noise);
    const DenseOperator a(p.matrix);
    const auto x = gaussian({384}, 9);
    const auto same = p.groups.unsqueeze(0).eq(p.groups.unsqueeze(1));
    const auto inside = (p.matrix * same).mv(x), whole = p.matrix.mv(x);
    const double cosine = (inside.dot(whole) / (inside.norm() * whole.norm())).item<double>();
    const double error = ((inside - whole).norm() / whole.norm()).item<double>();
    const auto found = partition_fidelity(a, p.groups, 8, x, 200, 1);
    INFO("noise " << noise << " cosine " << cosine << " error " << error);
    CHECK(found.products == 201);
    CHECK(std::abs(found.cosine - cosine) <= 4.0 * found.cosine_error + 1e-6);
    CHECK(std::abs(found.relative_error - error) <= 4.0 * found.relative_error_error + 1e-6);
    CHECK(found.cosine_error < 0.05);
    CHECK(found.relative_error_error < 0.05);
  }
  const auto p = planted(0.5);
  CHECK_THROWS_AS(
      partition_fidelity(DenseOperator(p.matrix), p.groups, 8, at::zeros({384}, at::kDouble), 4, 1),
      InputError);
}

TEST_CASE("The condition number of a block takes negative eigenvalues as 0 and is damped") {
  const auto ends = [](std::vector<double> values) {
    return curvature_ends(DenseOperator(at::tensor(values, at::kDouble).diag()), {});
  };
  CHECK(ends({2.0, 4.0, 8.0}).condition(0.0) == Approx(4.0));
  CHECK(ends({2.0, 4.0, 8.0}).condition(0.25) == Approx(1.25 / 0.5));
  CHECK(ends({-1.0, 4.0, 8.0}).condition(1e-3) == Approx(1001.0));
  CHECK(ends({0.0, 0.0}).condition(1e-3) == 1.0);
}

TEST_CASE("The spread inside groups is in nats") {
  const auto column = 0.5 * gaussian({1, 32}, 2);
  const std::vector<at::Tensor> v(3, column.expand({8, 32}).exp());
  const auto found = inside_log_variance(v, section(8, 32, Structure::tiles(1, 32)));
  CHECK(found.variance == Approx(column.var(false).item<double>()));
}
