// Lanczos against closed forms, random matrices, Eigen and Spectra.
#include <cmath>
#include <optional>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/hdf5_state.hpp"
#include "core/memory/memory_meter.hpp"
#include "hessian/dense.hpp"
#include "hessian/lanczos.hpp"
#include "hessian/spectra_eigenpairs.hpp"
#include "hessian/thick_restart.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor gaussian(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn(sizes, generator, at::kDouble);
}

// diag(values) turned by Householder reflectors that are never stored as a matrix.
class ReflectedDiagonal : public LinearOperator {
 public:
  ReflectedDiagonal(at::Tensor values, std::uint64_t seed) : values_(std::move(values)) {
    for (std::uint64_t i = 0; i < 3; ++i) {
      const auto u = gaussian({values_.numel()}, seed + i).to(values_.options());
      reflectors_.push_back(u / u.norm());
    }
  }
  std::int64_t rows() const override { return values_.numel(); }
  std::int64_t columns() const override { return values_.numel(); }
  bool symmetric() const override { return true; }
  at::TensorOptions options() const override { return values_.options(); }
  void apply(const at::Tensor& x, const at::Tensor& y) const override {
    auto z = x.clone();
    for (const auto& u : reflectors_) z -= 2.0 * u * u.dot(z);
    z *= values_;
    for (auto u = reflectors_.rbegin(); u != reflectors_.rend(); ++u) z -= 2.0 * *u * u->dot(z);
    y.copy_(z);
  }

 private:
  at::Tensor values_;
  std::vector<at::Tensor> reflectors_;
};

// A few large eigenvalues over a log-spaced bulk: what loses orthogonality first.
at::Tensor spiked(std::int64_t n, at::ScalarType dtype = at::kDouble) {
  auto values = at::logspace(-4, 0, n, 10.0, at::kDouble);
  values[n - 1] = 100.0;
  values[n - 2] = 60.0;
  values[n - 3] = -30.0;
  return values.to(dtype);
}

int ritz_values_near(const Lanczos& lanczos, double value) {
  int count = 0;
  for (const double ritz : ritz_values(lanczos.tridiagonal()).values) {
    if (std::abs(ritz - value) < 1e-3 * std::abs(value)) ++count;
  }
  return count;
}

EigenpairResult thick_restart_eigenpairs(const LinearOperator& a, const at::Tensor& start,
                                         const EigenpairOptions& options) {
  ThickRestart process(a, start, options);
  process.run();
  return process.result();
}

}  // namespace

TEST_CASE("With d distinct eigenvalues the process ends at step d, and quadrature is exact") {
  const std::vector<double> distinct = {-2.0, 0.5, 1.0, 3.0, 10.0};
  const auto values = at::tensor(distinct, at::kDouble).repeat({60});
  const ReflectedDiagonal a(values, 1);
  const auto start = gaussian({300}, 9);
  // Rounding grows by the polynomials of the process, a factor of some hundred here.
  Lanczos lanczos(a, start, {.steps = 20, .noise = 1e-13});
  CHECK(lanczos.run() == 5);
  CHECK(lanczos.broke_down());
  const auto ritz = ritz_values(lanczos.tridiagonal());
  for (std::size_t i = 0; i < 5; ++i) CHECK(ritz.values[i] == Approx(distinct[i]).epsilon(1e-12));
  const auto q = start / start.norm();
  const double expected = q.dot(a(a(q))).item<double>();
  double quadrature = 0.0, weights = 0.0;
  for (std::size_t i = 0; i < 5; ++i) {
    quadrature += ritz.first[i] * ritz.values[i] * ritz.values[i];
    weights += ritz.first[i];
  }
  CHECK(quadrature == Approx(expected).epsilon(1e-12));
  CHECK(weights == Approx(1.0).epsilon(1e-12));
}

TEST_CASE("m steps reproduce the moments up to 2 m - 1, and not the next one") {
  const auto matrix = gaussian({40, 40}, 2);
  const DenseOperator a((matrix + matrix.t()) / 18.0);
  auto q = gaussian({40}, 3);
  q /= q.norm();
  Lanczos lanczos(a, q, {.steps = 6});
  lanczos.run();
  const auto ritz = ritz_values(lanczos.tridiagonal());
  auto power = q.clone();
  for (int degree = 0; degree <= 12; ++degree) {
    double quadrature = 0.0;
    for (std::size_t i = 0; i < 6; ++i) {
      quadrature += ritz.first[i] * std::pow(ritz.values[i], degree);
    }
    const double error = std::abs(quadrature - q.dot(power).item<double>());
    INFO("degree " << degree << " error " << error);
    if (degree <= 11) CHECK(error < 1e-10);
    if (degree == 12) CHECK(error > 1e-6);
    power = a(power);
  }
}

TEST_CASE("Pairs at both ends are those of the dense matrix and of Spectra") {
  const ReflectedDiagonal a(spiked(200), 4);
  Lanczos lanczos(a, gaussian({200}, 5), {.steps = 80});
  lanczos.run();
  const auto expected = symmetric_eigenvalues(to_dense(a));
  const auto pairs = lanczos.pairs(2, SpectrumEnd::both, Lanczos::Residuals::computed);
  REQUIRE(pairs.size() == 4);
  CHECK(pairs[0].value == Approx(expected[199]).epsilon(1e-10));
  CHECK(pairs[1].value == Approx(expected[0]).epsilon(1e-10));
  CHECK(pairs[2].value == Approx(expected[198]).epsilon(1e-10));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(pairs[i].residual < 1e-8 * 100.0);
    CHECK(pairs[i].residual_bound < 1e-8 * 100.0);
  }
  // A pair that has not converged: the bound is its residual (Q orthonormal, T exact).
  CHECK(pairs[3].residual == Approx(pairs[3].residual_bound).epsilon(1e-6));
  // The second smallest lies in the log-spaced bulk: nobody finds that soon.
  const auto ends =
      spectra_eigenpairs(a, gaussian({200}, 6), {.pairs = 1, .basis = 40, .tolerance = 1e-10});
  REQUIRE(ends.converged);
  REQUIRE(ends.pairs.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(ends.pairs[i].value == Approx(pairs[i].value).epsilon(1e-9));
    CHECK(ends.pairs[i].residual < 1e-8 * 100.0);
  }
  const auto top = spectra_eigenpairs(a, gaussian({200}, 6),
                                      {.pairs = 2, .end = SpectrumEnd::largest, .basis = 40});
  REQUIRE(top.pairs.size() == 2);
  CHECK(top.pairs[1].value == Approx(pairs[2].value).epsilon(1e-9));
}

// Without reorthogonalisation copies of the outermost eigenvalues come back; with it none does.
TEST_CASE("Ghosts appear without reorthogonalisation only") {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const ReflectedDiagonal a(spiked(1000, dtype), 6);
    const auto start = gaussian({1000}, 7).to(dtype);
    const auto count = [&](Reorthogonalisation kind) {
      Lanczos lanczos(a, start, {.steps = 120, .reorthogonalisation = kind});
      lanczos.run();
      CHECK(lanczos.steps() == 120);
      return ritz_values_near(lanczos, 100.0) + ritz_values_near(lanczos, -30.0);
    };
    CHECK(count(Reorthogonalisation::full) == 2);
    CHECK(count(Reorthogonalisation::selective) == 2);
    CHECK(count(Reorthogonalisation::none) > 3);
  }
}

TEST_CASE("Random matrices have their edges and spikes") {
  // Marchenko-Pastur with gamma = 1/4: edges (1 +- sqrt(gamma))^2 = 0.25 and 2.25; a population
  // spike l = 4 shows at l (1 + gamma / (l - 1)) = 4.333 with overlap^2 (1 - gamma/9) / (1 +
  // gamma/3).
  const std::int64_t n = 2000, d = 500;
  auto x = gaussian({n, d}, 11);
  x.select(1, 0).mul_(2.0);
  const DenseOperator covariance([&] {
    const auto c = x.t().mm(x) / double(n);
    return (c + c.t()) / 2.0;
  }());
  Lanczos mp(covariance, gaussian({d}, 12), {.steps = 200});
  mp.run();
  const auto pairs = mp.pairs(2, SpectrumEnd::both, Lanczos::Residuals::bounded);
  // Fluctuations: edges n^(-2/3) times the width, the spike n^(-1/2) times l sqrt(2); three of
  // them.
  CHECK(std::abs(pairs[0].value - 4.333) < 3.0 * 4.0 * std::sqrt(2.0 / double(n)));
  CHECK(std::abs(pairs[2].value - 2.25) < 0.1);
  CHECK(std::abs(pairs[1].value - 0.25) < 0.03);
  const double overlap = std::pow(pairs[0].vector[0].item<double>(), 2);
  CHECK(overlap == Approx((1.0 - 0.25 / 9.0) / (1.0 + 0.25 / 3.0)).margin(0.05));

  // Wigner with spike theta = 2.5: theta + 1 / theta = 2.9, overlap^2 1 - theta^-2 = 0.84; without
  // it the Jacobi coefficients are the semicircle's, 0 and 1, up to n^(-1/2) = 0.03.
  auto w = gaussian({1000, 1000}, 13);
  w = (w + w.t()) / std::sqrt(2.0 * 1000.0);
  const DenseOperator plain(w);
  Lanczos semicircle(plain, gaussian({1000}, 14), {.steps = 12});
  semicircle.run();
  for (std::size_t j = 0; j < 12; ++j) {
    CHECK(std::abs(semicircle.tridiagonal().alpha[j]) < 0.2);
    CHECK(semicircle.tridiagonal().beta[j] == Approx(1.0).margin(0.15));
  }
  auto spiked_matrix = w.clone();
  spiked_matrix[0][0] += 2.5;
  const DenseOperator wigner(spiked_matrix);
  Lanczos process(wigner, gaussian({1000}, 14), {.steps = 120});
  process.run();
  const auto top = process.pairs(1, SpectrumEnd::largest, Lanczos::Residuals::bounded)[0];
  CHECK(top.value == Approx(2.9).margin(0.1));
  CHECK(std::pow(top.vector[0].item<double>(), 2) == Approx(0.84).margin(0.05));
}

TEST_CASE("A saved process goes on with the same bits") {
  TemporaryFolder folder;
  const auto path = folder / "lanczos.h5";
  for (const auto kind :
       {Reorthogonalisation::full, Reorthogonalisation::selective, Reorthogonalisation::none}) {
    const ReflectedDiagonal a(spiked(300, at::kFloat), 8);
    const LanczosOptions options{.steps = 40, .reorthogonalisation = kind};
    const auto start = gaussian({300}, 21).to(at::kFloat);
    Lanczos whole(a, start, options);
    whole.run();
    Lanczos first(a, start, options);
    first.run([](std::int64_t done) { return done < 17; });
    CHECK(first.steps() == 17);
    save_state(path, [&](Hdf5File& file) { first.save(Hdf5StateWriter(file, "/a")); });
    Lanczos second(a, gaussian({300}, 99).to(at::kFloat), options);
    second.load(Hdf5StateReader(Hdf5File::open_for_reading(path), "/a"));
    CHECK(second.run() == 40);
    CHECK(second.tridiagonal().alpha == whole.tridiagonal().alpha);
    CHECK(second.tridiagonal().beta == whole.tridiagonal().beta);
  }
}

// As functions of the spectrum deepen their quadratures, and a signal comes then.
TEST_CASE("A process that was extended and saved goes on with the same bits") {
  TemporaryFolder folder;
  const ReflectedDiagonal a(spiked(300), 8);
  const LanczosOptions options{.steps = 10, .most_steps = 40};
  Lanczos whole(a, gaussian({300}, 21), options);
  CHECK(whole.run() == 10);
  whole.extend(30);
  CHECK(whole.run() == 30);
  save_state(folder / "lanczos.h5",
             [&](Hdf5File& file) { whole.save(Hdf5StateWriter(file, "/a")); });
  Lanczos second(a, gaussian({300}, 99), options);
  second.load(Hdf5StateReader(Hdf5File::open_for_reading(folder / "lanczos.h5"), "/a"));
  for (auto* process : {&whole, &second}) {
    process->extend(50);
    CHECK(process->run() == 40);
  }
  CHECK(second.tridiagonal().alpha == whole.tridiagonal().alpha);
}

TEST_CASE("Processes in lockstep are those that run alone, bit for bit") {
  const ReflectedDiagonal a(spiked(120), 3), b(spiked(80), 4);
  const auto start_a = gaussian({120}, 1), start_b = gaussian({80}, 2);
  Lanczos first(a, start_a, {.steps = 12}), second(b, start_b, {.steps = 30});
  std::vector<std::size_t> counts(2);
  run_in_lockstep({&first, &second},
                  [&](const auto& which, const auto& directions, auto& products) {
                    for (std::size_t k = 0; k < which.size(); ++k) {
                      ++counts[which[k]];
                      (which[k] == 0 ? a : b).apply(directions[k], products[k]);
                    }
                  });
  CHECK(counts == std::vector<std::size_t>{12, 30});
  Lanczos alone(b, start_b, {.steps = 30});
  alone.run();
  CHECK(second.tridiagonal().alpha == alone.tridiagonal().alpha);
  CHECK(second.tridiagonal().beta == alone.tridiagonal().beta);
}

// Bottom eigenvalues of a bulk that is 1e-4 wide take far more products than a basis of 24 vectors.
TEST_CASE("Thick restarts find both ends in a small basis, every pair once") {
  const auto values = at::cat({at::linspace(1.0, 2.0, 300, at::kDouble),
                               at::tensor({-3.0, -2.9, 5.0, 5.0, 7.0}, at::kDouble)});
  const ReflectedDiagonal a(values, 3);
  const auto expected = symmetric_eigenvalues(to_dense(a));
  const auto n = expected.size();
  const auto result = thick_restart_eigenpairs(
      a, gaussian({305}, 7), {.pairs = 4, .basis = 24, .tolerance = 1e-10, .most_products = 2000});
  CHECK(result.converged);
  CHECK(result.restarts > 0);
  REQUIRE(result.pairs.size() == 8);
  CHECK(result.copies_found);
  // One Krylov space would see the double eigenvalue 5 once.
  for (const auto& pair : result.pairs) {
    const auto place =
        pair.place >= 0 ? n - 1 - std::size_t(pair.place) : std::size_t(-1 - pair.place);
    INFO("place " << pair.place);
    CHECK(pair.value == Approx(expected[place]).epsilon(1e-9));
    CHECK(pair.residual < 2e-9 * 7.0);
    CHECK(pair.converged);
  }
}

TEST_CASE("Eigenvalues that repeat are found as often as they do") {
  const auto values =
      at::cat({at::linspace(1.0, 2.0, 150, at::kDouble),
               at::tensor({9.0, 9.0, 9.0, 6.0, 6.0, 4.0, -1.0, -1.0}, at::kDouble)});
  const ReflectedDiagonal a(values, 3);
  const auto found = thick_restart_eigenpairs(
      a, gaussian({158}, 7), {.pairs = 6, .basis = 30, .tolerance = 1e-8, .most_products = 900});
  CHECK(found.converged);
  CHECK(found.copies_found);
  const std::vector<double> top = {9.0, 9.0, 9.0, 6.0, 6.0, 4.0};
  for (const auto& pair : found.pairs) {
    if (pair.place >= 0) CHECK(pair.value == Approx(top[std::size_t(pair.place)]));
    if (pair.place == -1 || pair.place == -2) CHECK(pair.value == Approx(-1.0));
    if (pair.place == -3) CHECK(pair.value == Approx(1.0));
  }
  // Without products for a second start it says so.
  const auto short_of = thick_restart_eigenpairs(
      a, gaussian({158}, 7), {.pairs = 1, .basis = 30, .tolerance = 1e-6, .most_products = 29});
  CHECK(!short_of.copies_found);
}

// A Gauss-Newton matrix's spectrum: outliers, and a smallest eigenvalue of 0 that no space of this
// size comes near. What is found there is no eigenvalue.
TEST_CASE("Ends that have not converged are marked by every solver") {
  const auto bulk = at::linspace(0.0, 3.0, 380, at::kDouble);
  const auto values = at::cat({bulk, at::linspace(20.0, 400.0, 20, at::kDouble)});
  const ReflectedDiagonal a(values, 5);
  const auto check = [](const EigenpairResult& result) {
    REQUIRE(result.pairs.size() == 4);
    CHECK(!result.converged);
    for (const auto& pair : result.pairs) {
      INFO("place " << pair.place << ": " << pair.value);
      CHECK(pair.converged == (pair.place >= 0));
      if (pair.place == 0) CHECK(pair.value == Approx(400.0).epsilon(1e-6));
      if (pair.place == 1) CHECK(pair.value == Approx(380.0).epsilon(1e-6));
      if (pair.place == -1) CHECK(pair.value > 0.0);
    }
  };
  const EigenpairOptions options{.pairs = 2, .basis = 30, .tolerance = 1e-6, .most_products = 60};
  check(spectra_eigenpairs(a, gaussian({400}, 7), options));
  check(thick_restart_eigenpairs(a, gaussian({400}, 7), options));
  Lanczos lanczos(a, gaussian({400}, 7), {.steps = 40});
  lanczos.run();
  check({lanczos.pairs(2, SpectrumEnd::both, Lanczos::Residuals::computed, 1e-6), false});
}

TEST_CASE("A thick restart that was stopped goes on with the same bits") {
  const ReflectedDiagonal a(spiked(200), 3);
  const EigenpairOptions options{.pairs = 3, .basis = 18, .tolerance = 1e-9};
  const auto whole = thick_restart_eigenpairs(a, gaussian({200}, 7), options);
  REQUIRE(whole.restarts > 1);
  const TemporaryFolder folder;
  const auto path = folder.path() / "state.h5";
  std::optional<ThickRestart> process(std::in_place, a, gaussian({200}, 7), options);
  // Stopped within the first basis, and again after a restart.
  for (const std::int64_t stop : {7, 25}) {
    CHECK(!process->run([&](std::int64_t done) { return done < stop; }));
    save_state(path, [&](Hdf5File& file) { process->save(Hdf5StateWriter(file, "/pairs")); });
    process.emplace(a, gaussian({200}, 8), options);
    process->load(Hdf5StateReader(Hdf5File::open_for_reading(path), "/pairs"));
  }
  CHECK(process->run());
  const auto result = process->result();
  CHECK(result.products == whole.products);
  CHECK(result.restarts == whole.restarts);
  for (std::size_t i = 0; i < whole.pairs.size(); ++i) {
    CHECK(result.pairs[i].value == whole.pairs[i].value);
    CHECK(at::equal(result.pairs[i].vector, whole.pairs[i].vector));
  }
  ThickRestart other(a, gaussian({200}, 7), {.pairs = 3, .basis = 20});
  CHECK_THROWS_WITH(other.load(Hdf5StateReader(Hdf5File::open_for_reading(path), "/pairs")),
                    Contains("/pairs: capacity is 18, this process has 20"));
}

TEST_CASE("Thick restarts end at the budget, at an invariant space, and at the noise") {
  const ReflectedDiagonal a(spiked(200), 3);
  const auto start = gaussian({200}, 7);
  const auto cut = thick_restart_eigenpairs(a, start, {.pairs = 3, .most_products = 15});
  CHECK(!cut.converged);
  CHECK(cut.products == 15);
  CHECK(cut.pairs[0].value == Approx(100.0).epsilon(1e-3));
  CHECK(cut.pairs[0].residual == Approx(cut.pairs[0].residual_bound).margin(1e-8));
  const DenseOperator two(at::diag(at::tensor({1.0, 1.0, 4.0, 4.0}, at::kDouble)));
  const auto whole = thick_restart_eigenpairs(two, at::ones({4}, at::kDouble), {.pairs = 2});
  CHECK(whole.products == 4);
  CHECK(whole.copies_found);
  for (const auto& pair : whole.pairs) {
    CHECK(pair.value == Approx(pair.place >= 0 ? 4.0 : 1.0));
  }
  // Products that are wrong by 1e-3 cannot give residuals of 1e-6.
  auto generator = make_generator(5, RandomStream::probe);
  const FunctionOperator noisy(200, at::kDouble, [&](const at::Tensor& x) {
    const auto y = a(x);
    return y + 1e-3 / std::sqrt(200.0) * y.norm() * at::randn({200}, generator, at::kDouble);
  });
  const auto found = thick_restart_eigenpairs(noisy, start, {.pairs = 2, .noise = 1e-3});
  CHECK(found.converged);
  CHECK(found.pairs[0].value == Approx(100.0).epsilon(0.01));
  CHECK_THROWS_WITH(thick_restart_eigenpairs(a, start, {.pairs = 10, .basis = 20}),
                    Contains("a basis of 20 vectors for 20 pairs, at least 22 are needed"));
}

// What the process takes beside the operator: its basis and three vectors.
TEST_CASE("Lanczos holds its basis and three vectors") {
  const std::int64_t n = 1 << 20, steps = 12;
  const auto values = at::linspace(-1.0, 1.0, n, at::kFloat);
  const FunctionOperator a(n, values.options(), [&](const at::Tensor& x) { return values * x; });
  const auto start = gaussian({n}, 1).to(at::kFloat);
  const MemoryMeter meter(at::kCPU);
  Lanczos lanczos(a, start, {.steps = steps});
  lanczos.run();
  const auto vector = n * std::int64_t{sizeof(float)};
  // The operator here returns its product in one vector of its own.
  CHECK(meter.peak_allocated() <= (steps + 3 + 1) * vector + vector / 10);
}

TEST_CASE("Bad input to Lanczos is one error") {
  const DenseOperator square(at::eye(4, at::kDouble)), other(at::eye(5, at::kDouble));
  const auto start = at::ones({4}, at::kDouble);
  CHECK_THROWS_WITH(Lanczos(square, start, {.steps = 5}),
                    Contains("5 Lanczos steps on an operator of 4 rows, allowed are 1 to 4"));
  CHECK_THROWS_WITH(Lanczos(square, at::zeros({4}, at::kDouble), {.steps = 2}),
                    Contains("a Lanczos start of norm 0"));
  const DenseOperator skew(at::tensor({0.0, 1.0, 0.0, 0.0}, at::kDouble).view({2, 2}));
  CHECK_THROWS_WITH(Lanczos(skew, at::ones({2}, at::kDouble), {.steps = 1}),
                    Contains("needs a symmetric operator"));
  TemporaryFolder folder;
  Lanczos saved(square, start, {.steps = 2});
  saved.run();
  save_state(folder / "l.h5", [&](Hdf5File& file) { saved.save(Hdf5StateWriter(file, "/a")); });
  const auto file = Hdf5File::open_for_reading(folder / "l.h5");
  Lanczos wrong(other, at::ones({5}, at::kDouble), {.steps = 2});
  CHECK_THROWS_WITH(wrong.load(Hdf5StateReader(file, "/a")),
                    Contains("rows is 4, this process has 5"));
  CHECK_THROWS_WITH(wrong.load(Hdf5StateReader(file, "/b")), Contains("/b"));
  const DenseOperator float_square(at::eye(4));
  Lanczos narrow(float_square, at::ones({4}), {.steps = 2});
  CHECK_THROWS_WITH(narrow.load(Hdf5StateReader(file, "/a")), Contains("another type"));
}
