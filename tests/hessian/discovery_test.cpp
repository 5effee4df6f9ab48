// What discovery rests on: energies of planted blocks by level, and evidence from second moments.
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/hdf5_state.hpp"
#include "hessian/evidence/best_rate.hpp"
#include "hessian/evidence/moment_evidence.hpp"
#include "hessian/evidence/off_diagonal_share.hpp"
#include "hessian/evidence/partition_energies.hpp"
#include "hessian/evidence/partition_fidelity.hpp"
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
  save_state(folder / "p.h5",
             [&](Hdf5File& file) { first.save(Hdf5StateWriter(file, "/probes")); });
  PartitionProbes second(a, sections, levels, plan);
  second.load(Hdf5StateReader(Hdf5File::open_for_reading(folder / "p.h5"), "/probes"));
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

namespace {

// Rows 1, 2, 3 times a wave 1 +- 0.5, with rows of 0 between and behind them, as tokens have that
// no example had.
at::Tensor with_silent_rows() {
  const auto wave = at::tensor({0.5, 1.5, 0.5, 1.5}, at::kDouble).unsqueeze(0);
  auto v = at::zeros({9, 4}, at::kDouble);
  for (const std::int64_t i : {0, 1, 2}) v[3 * i] = double(i + 1) * wave[0];
  return v;
}

}  // namespace

TEST_CASE("Rows without a gradient say nothing of signal and noise, whatever the unit") {
  const auto v = with_silent_rows();
  for (const double unit : {1.0, 1e-35, 1e35}) {
    INFO(unit);
    const auto ratio = [&](Structure s) {
      return signal_to_noise(unit * v, section(9, 4, std::move(s)));
    };
    CHECK(ratio(Structure::tiles(1, 4)) == Approx(1.0 / 0.25));
    // Columns: mean 2, variance 2/3 of 1, 2, 3.
    CHECK(ratio(Structure::tiles(9, 1)) == Approx(4.0 / (2.0 / 3.0)));
    // All: mean 2, mean square 14/3 * 1.25.
    CHECK(ratio(Structure::tiles(9, 4)) == Approx(4.0 / (14.0 / 3.0 * 1.25 - 4.0)));
    // Two groups of rows with one row that is not 0, and one: that of every row.
    CHECK(ratio(Structure::tiles(3, 4)) == Approx(4.0));
    CHECK(std::isinf(ratio(Structure::factored(9))));
    CHECK(std::isinf(ratio(Structure::per_element())));
  }
  CHECK(std::isnan(signal_to_noise(0.0 * v, section(9, 4, Structure::tiles(1, 4)))));
  // Elements of 0 within a row: 1 and 3 are left, mean 2 and variance 1.
  const auto holes = at::tensor({0.0, 1.0, 0.0, 3.0}, at::kDouble).unsqueeze(0);
  CHECK(signal_to_noise(holes, section(1, 4, Structure::tiles(1, 4))) == Approx(4.0));
}

// v = a b^T + d s t^T with sums of s and of t 0: row and column sums are those of a b^T.
TEST_CASE("A factored structure has a ratio of its own") {
  const auto a = at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble);
  const auto b = at::tensor({5.0, 7.0, 6.0, 4.0}, at::kDouble);
  const auto s = at::tensor({1.0, -1.0, -1.0, 1.0}, at::kDouble);
  const double d = 0.5;
  const auto v = at::outer(a, b) + d * at::outer(s, s);
  const double signal = 30.0 * 126.0, noise = d * d * 16.0;  // sums of squares
  const auto ratio = [](const at::Tensor& x, Structure structure) {
    return signal_to_noise(x, section(x.size(0), x.size(1), std::move(structure)));
  };
  CHECK(ratio(v, Structure::factored(4)) == Approx(signal / noise));
  CHECK(ratio(v, Structure::factored(4)) > 10.0 * ratio(v, Structure::tiles(4, 4)));
  // Two groups alike, and one without gradients between them.
  CHECK(ratio(at::cat({v, at::zeros_like(v), 3.0 * v}), Structure::factored(4)) ==
        Approx(signal / noise));
  // A silent row within the group.
  CHECK(ratio(at::cat({v, at::zeros({1, 4}, at::kDouble)}), Structure::factored(5)) ==
        Approx(signal / noise));
  // Rank one, with single elements missing: nothing is left over.
  auto holes = at::outer(a, b);
  holes[1][2] = holes[3][0] = 0.0;
  CHECK(std::isinf(ratio(holes, Structure::factored(4))));
}

TEST_CASE("Rows without a gradient do not enter the variance of log v") {
  const std::int64_t rows = 24, columns = 32;
  const auto row = 1.0 * gaussian({rows, 1}, 1), column = 0.5 * gaussian({1, columns}, 2);
  const auto seen = at::arange(rows, at::kLong).remainder(3).ne(1);
  const auto kept = seen.nonzero().squeeze(1);
  std::vector<at::Tensor> v;
  for (std::uint64_t g = 0; g < 4; ++g) {
    v.push_back((row + column + 0.4 * gaussian({rows, columns}, 10 + g)).exp() *
                seen.to(at::kDouble).unsqueeze(1));
  }
  // A row that one estimate alone has not seen is left out, too.
  v[2][0].zero_();
  std::vector<at::Tensor> alone;
  for (const auto& estimate : v) alone.push_back(estimate.index_select(0, kept.slice(0, 1)));
  const auto structures = {std::pair{Structure::tiles(1, columns), Structure::tiles(1, columns)},
                           {Structure::tiles(rows, 1), Structure::tiles(15, 1)},
                           {Structure::factored(rows), Structure::factored(15)},
                           {Structure::tiles(rows, columns), Structure::tiles(15, columns)}};
  for (const auto& [with, without] : structures) {
    const auto found = inside_log_variance(v, section(rows, columns, with));
    const auto truth = inside_log_variance(alone, section(15, columns, without));
    CHECK(found.share == Approx(truth.share).margin(1e-12));
    CHECK(found.standard_error == Approx(truth.standard_error).margin(1e-12));
    CHECK(found.variance == Approx(truth.variance).margin(1e-12));
  }
  const std::vector<at::Tensor> nothing(3, at::zeros({4, 4}, at::kDouble));
  CHECK(inside_log_variance(nothing, section(4, 4, Structure::tiles(1, 4))).share == 1.0);
}

namespace {

// Sections of 40, 40 and 24 elements in rows of 8, of which the last has a thousandth of the
// others' energy; inside rows more of it than elsewhere, and couplings between the sections.
struct Sections {
  at::Tensor matrix, rows;
  std::vector<VectorSection> ranges{{0, 40}, {40, 40}, {80, 24}};

  Sections() {
    const std::int64_t n = 104;
    rows = at::arange(n, at::kLong).div(8, "floor");
    const auto x = gaussian({n, n}, 21);
    const auto same = rows.unsqueeze(0).eq(rows.unsqueeze(1)).to(at::kDouble);
    auto scale = at::ones({n}, at::kDouble);
    scale.narrow(0, 80, 24).fill_(std::pow(1e-3, 0.25));
    matrix = (x + x.t()) * (0.4 + same) * at::outer(scale, scale);
  }

  EnergyLevel whole() const { return {at::arange(104, at::kLong).div(40, "floor"), 3}; }

  double lift(std::size_t s) const {
    const auto& range = ranges[s];
    const auto own = matrix.narrow(0, range.begin, range.size).narrow(1, range.begin, range.size);
    const auto label = rows.narrow(0, range.begin, range.size);
    const double energy = own.square().sum().item<double>();
    const double diagonal = own.diagonal().square().sum().item<double>() / energy;
    const auto blocks = label - label.min();
    return coupling_lift(inside_energy(own, label) / energy,
                         random_share(blocks, range.size / 8, diagonal));
  }
};

}  // namespace

// Products of the whole matrix, as discovery.scope model has them.
TEST_CASE("Lifts from products that mix sections are right on average, or not given") {
  const Sections p;
  const DenseOperator a(p.matrix);
  constexpr int kSeeds = 60;
  for (const std::size_t s : {0, 1, 2}) {
    const auto size = p.ranges[s].size;
    const double pairs = random_share(at::arange(size, at::kLong).div(8, "floor"), size / 8, 0.0);
    std::vector<double> lifts;
    double stated = 0.0;
    for (int seed = 0; seed < kSeeds; ++seed) {
      const auto found = measured(a, p.ranges, {p.whole(), {p.rows, 13}},
                                  {.vectors = 32, .codes = 4, .seed = std::uint64_t(seed)});
      const auto place = std::int64_t(s);
      const auto share = off_diagonal_share(
          {found.inside[1].select(1, place), found.inside[0].select(1, place),
           found.diagonal[place].item<double>(), found.diagonal_error[place].item<double>()});
      if (share.standard_error > kLargestMixedError) continue;
      lifts.push_back(coupling_lift(share.value, pairs));
      stated += std::pow(share.standard_error / (1.0 - pairs), 2);
    }
    INFO("section " << s << " lift " << p.lift(s) << ", " << lifts.size() << " seeds");
    if (s == 2) {
      // Noise of the others: a draw that looks like five of its standard errors is rare.
      CHECK(lifts.size() <= 2);
      continue;
    }
    REQUIRE(lifts.size() == kSeeds);
    const auto values = at::tensor(lifts, at::kDouble);
    const double spread = values.std().item<double>();
    CHECK(std::abs(values.mean().item<double>() - p.lift(s)) <
          3.5 * spread / std::sqrt(double(kSeeds)));
    // An error from 32 vectors and four groups is itself known to a quarter.
    CHECK(std::sqrt(stated / kSeeds) == Approx(spread).epsilon(0.3));
  }
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
    const auto found = partition_fidelity(a, p.groups, 8, x, {200, 1});
    INFO("noise " << noise << " cosine " << cosine << " error " << error);
    CHECK(found.products == 201);
    CHECK(std::abs(found.cosine - cosine) <= 4.0 * found.cosine_error + 1e-6);
    CHECK(std::abs(found.relative_error - error) <= 4.0 * found.relative_error_error + 1e-6);
    CHECK(found.cosine_error < 0.05);
    CHECK(found.relative_error_error < 0.05);
  }
  const auto p = planted(0.5);
  CHECK_THROWS_AS(partition_fidelity(DenseOperator(p.matrix), p.groups, 8,
                                     at::zeros({384}, at::kDouble), {4, 1}),
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
