// Traces, norms, diagonals and densities against known answers; intervals that cover.
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "hessian/dense.hpp"
#include "hessian/spectral_density.hpp"
#include "hessian/spectral_function.hpp"
#include "hessian/trace.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor gaussian(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn(sizes, generator, at::kDouble);
}

// Eigenvalues in a random basis.
DenseOperator rotated(const at::Tensor& values, std::uint64_t seed) {
  const auto n = values.numel();
  const auto q = std::get<0>(at::linalg_qr(gaussian({n, n}, seed)));
  const auto matrix = (q * values).mm(q.t());
  return DenseOperator((matrix + matrix.t()) / 2.0);
}

at::Tensor geometric(std::int64_t n) {
  return at::pow(at::scalar_tensor(0.7, at::kDouble), at::arange(n, at::kDouble));
}

using Estimator = Estimate (*)(const LinearOperator&, const SamplingPlan&);

// Of seeded repetitions, how many intervals hold the truth.
int covered(const LinearOperator& a, double truth, Estimator estimate, std::int64_t products,
            std::uint64_t repetitions) {
  int count = 0;
  for (std::uint64_t seed = 0; seed < repetitions; ++seed) {
    const auto interval = estimate(a, {.products = products, .seed = seed}).interval();
    if (interval.low <= truth && truth <= interval.high) ++count;
  }
  return count;
}

// Four standard deviations of the binomial distribution beyond coverages of `least` and `most`.
void check_coverage(int count, int repetitions, double least, double most) {
  const auto deviations = [&](double p) { return 4.0 * std::sqrt(repetitions * p * (1.0 - p)); };
  CHECK(count >= least * repetitions - deviations(least));
  CHECK(count <= most * repetitions + deviations(most));
}

}  // namespace

TEST_CASE("Rademacher probes are exact on diagonal operators") {
  const auto values = gaussian({50}, 1);
  const DenseOperator a(at::diag(values));
  const double trace = values.sum().item<double>();
  CHECK(hutchinson_trace(a, {.products = 1}).value == Approx(trace).epsilon(1e-12));
  CHECK(at::allclose(diagonal(a, {.products = 2}).value, values, 0.0, 1e-12));
  CHECK(at::allclose(squared_row_norms(a, {.products = 2}).value, values.square(), 0.0, 1e-12));
  CHECK(squared_frobenius_norm(a, {.products = 1}).value ==
        Approx(values.square().sum().item<double>()).epsilon(1e-12));
}

// n = 1000, eigenvalues 0.7^i: trace 3.3333; with 25 products Hutchinson misses by a tenth, XTrace
// by a hundredth or less, Hutch++ between.
TEST_CASE("Traces of a decaying spectrum: the ranges pay") {
  const auto a = rotated(geometric(1000), 2);
  const double truth = 1.0 / 0.3;
  const auto error = [&](Estimator estimate) {
    double squares = 0.0;
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      squares += std::pow(estimate(a, {.products = 24, .seed = seed}).value - truth, 2);
    }
    return std::sqrt(squares / 10.0);
  };
  const double hutchinson = error(hutchinson_trace);
  // sd of one probe sqrt(2) ||A||_F = 1.98, of the mean of 24 probes 0.40.
  CHECK(hutchinson == Approx(0.40).margin(0.25));
  CHECK(error(hutch_plus_plus_trace) < hutchinson / 3.0);
  CHECK(error(xtrace) < hutchinson / 10.0);
}

TEST_CASE("Estimates with as many products as rows are exact where the range is everything") {
  const auto a = rotated(gaussian({12}, 3), 4);
  const double truth = to_dense(a).trace().item<double>();
  CHECK(hutch_plus_plus_trace(a, {.products = 36}).value == Approx(truth).epsilon(1e-10));
  // XTrace leaves one probe out, and the range of 12 random products is badly conditioned.
  CHECK(xtrace(a, {.products = 24}).value == Approx(truth).epsilon(1e-3));
}

TEST_CASE("Traces of an operator that is zero are zero, and sure") {
  const DenseOperator a(at::zeros({20, 20}, at::kDouble));
  for (const auto method :
       {TraceMethod::hutchinson, TraceMethod::hutch_plus_plus, TraceMethod::xtrace}) {
    for (const double relative_error : {0.0, 0.1}) {
      const auto trace =
          trace_and_norm(a, {.products = 12, .relative_error = relative_error}, method).trace;
      CHECK(trace.value == 0.0);
      CHECK(trace.standard_error == 0.0);
    }
  }
}

// With so few samples 1.96 standard errors would cover 88 % of 5 and 92 % of 10: outside.
TEST_CASE("The intervals are honest") {
  const auto values = gaussian({60}, 5).abs();
  const auto a = rotated(values, 6);
  const double trace = values.sum().item<double>();
  const double frobenius = values.square().sum().item<double>();
  for (const auto& [name, estimate, products, truth] :
       {std::tuple<std::string, Estimator, std::int64_t, double>{"Hutchinson", hutchinson_trace, 5,
                                                                 trace},
        {"Hutch++", hutch_plus_plus_trace, 15, trace},
        {"Frobenius", squared_frobenius_norm, 10, frobenius}}) {
    const int count = covered(a, truth, estimate, products, 600);
    INFO(name << " covered " << count << " of 600");
    check_coverage(count, 600, 0.95, 0.95);
  }
  // Its error is an approximation, see xtrace().
  const int count = covered(a, trace, xtrace, 20, 200);
  INFO("XTrace covered " << count << " of 200");
  check_coverage(count, 200, 0.93, 0.97);
}

// One eigenvalue that rules makes ||A z||^2 a chi-squared variable of one degree of freedom: the
// symmetric interval of Student's t covers 89 % with 20 samples, outside.
TEST_CASE("Intervals of skewed samples are honest") {
  const auto values = at::cat({at::full({1}, 100.0, at::kDouble), gaussian({39}, 7)});
  const auto a = rotated(values, 8);
  const double frobenius = values.square().sum().item<double>();
  const int count = covered(a, frobenius, squared_frobenius_norm, 20, 1000);
  INFO("covered " << count << " of 1000");
  check_coverage(count, 1000, 0.94, 0.95);
}

// Shares of a spectrum and tr f(A) / n by quadrature, over probes. The cut lies in a gap, where the
// quadrature itself is exact.
TEST_CASE("The bands of densities are honest") {
  const auto values = at::cat({gaussian({70}, 18).abs() + 1.0, -1.0 - gaussian({50}, 19).abs()});
  const auto a = rotated(values, 20);
  const auto log_mean = values.abs().log().mean().item<double>();
  int share = 0, function = 0;
  constexpr int kSeeds = 100;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto density = spectral_density(a, {.steps = 40, .probes = 5, .seed = seed});
    const auto below = density.cumulative(0.0).interval();
    const auto mean = density.mean_of({[](double x) { return std::log(std::abs(x)); }}).interval();
    share += below.low <= 50.0 / 120.0 && 50.0 / 120.0 <= below.high ? 1 : 0;
    function += mean.low <= log_mean && log_mean <= mean.high ? 1 : 0;
  }
  INFO("share " << share << ", function " << function << " of " << kSeeds);
  check_coverage(share, kSeeds, 0.95, 0.95);
  check_coverage(function, kSeeds, 0.95, 0.95);
}

// ---- what a quadrature leaves open
// ---------------------------------------------------------------

namespace {

// As of a network: many eigenvalues of all sizes around 0, and outliers.
at::Tensor network_like(std::int64_t n, bool indefinite) {
  auto values = at::pow(
      10.0, -6.0 + 5.5 * at::rand({n}, make_generator(31, RandomStream::probe), at::kDouble));
  if (indefinite) values.narrow(0, 0, n / 3).neg_();
  values.narrow(0, n - 6, 6).copy_(at::tensor({2.0, 5.0, 11.0, 23.0, 40.0, 90.0}, at::kDouble));
  return values;
}

Lanczos process_of(const LinearOperator& a, std::int64_t steps, std::uint64_t seed) {
  Lanczos process(a, gaussian({a.rows()}, seed), {.steps = steps});
  process.run();
  return process;
}

}  // namespace

TEST_CASE("A canonical representation has its node and all moments that Lanczos fixes") {
  const auto a = rotated(gaussian({80}, 41), 42);
  const auto gauss = gauss_quadrature(process_of(a, 9, 43).tridiagonal());
  for (const double xi : {-4.0, -0.31, 0.0, 0.77, 5.0}) {
    INFO("xi " << xi);
    const auto rule = with_node(gauss, xi);
    REQUIRE(rule.nodes.size() == 10);
    double nearest = 1e300;
    for (const double node : rule.nodes) nearest = std::min(nearest, std::abs(node - xi));
    CHECK(nearest < 1e-12);
    for (int degree = 0; degree <= 17; ++degree) {
      const auto moment = [&](const Quadrature& q) {
        double sum = 0.0;
        for (std::size_t i = 0; i < q.nodes.size(); ++i) {
          sum += q.weights[i] * std::pow(q.nodes[i] / 3.0, degree);
        }
        return sum;
      };
      CHECK(moment(rule) == Approx(moment(gauss)).margin(1e-11));
    }
  }
}

// 1 / (x + d): Gauss's rule is a lower bound, the one with a node at 0 an upper one.
TEST_CASE("Bounds of a quadrature hold and close in") {
  const double d = 1e-3;
  const SpectrumIntegrand dimension = spectral_function("effective_dimension").with(d);
  for (const bool indefinite : {true, false}) {
    const auto values = network_like(400, indefinite);
    const DenseOperator a(at::diag(values));
    const double end = indefinite ? -std::numeric_limits<double>::infinity() : 0.0;
    double width = 1.0;
    for (const std::int64_t steps : {20, 60, 180}) {
      const auto start = gaussian({400}, 44);
      const auto weights = (start / start.norm()).square();
      const double truth = (weights * values.abs() / (values.abs() + d)).sum().item<double>();
      const auto gauss = gauss_quadrature(process_of(a, steps, 44).tridiagonal());
      const auto bounds = integral_bounds(gauss, dimension.value, dimension.rough, end);
      INFO("indefinite " << indefinite << ", " << steps << " steps: " << truth << " in ["
                         << bounds.low << ", " << bounds.high << "], Gauss " << bounds.value);
      // Rounding beside.
      CHECK(bounds.low <= truth + 1e-9);
      CHECK(bounds.high >= truth - 1e-9);
      CHECK(bounds.high - bounds.low < width);
      width = bounds.high - bounds.low;
    }
    if (!indefinite) CHECK(width < 1e-6);
  }
}

// The default depth does not see what happens at 1e-3 beside outliers of 90.
TEST_CASE("Intervals of functions hold the quadrature's error, and more steps take it away") {
  const auto values = network_like(500, true);
  const DenseOperator a(at::diag(values));
  const auto f = spectral_function("effective_dimension").with(1e-3);
  const double truth = (values.abs() / (values.abs() + 1e-3)).sum().item<double>();
  int probes_alone = 0, whole = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto shallow =
        trace_of_function(a, f, {.steps = 16, .probes = 10, .seed = seed}, 0.0, 16);
    const auto interval = shallow.interval();
    whole += interval.low <= truth && truth <= interval.high ? 1 : 0;
    probes_alone +=
        interval.low + shallow.below <= truth && truth <= interval.high - shallow.above ? 1 : 0;
  }
  CHECK(whole == 20);
  CHECK(probes_alone <= 10);
  const auto deep = trace_of_function(a, f, {.steps = 16, .probes = 5}, 0.0, 500);
  CHECK(deep.products > 5 * 16);
  CHECK(deep.above + deep.below < 0.1 * deep.standard_error + 2e-3 * deep.value);
  CHECK(deep.interval().low <= truth);
  CHECK(truth <= deep.interval().high);
}

TEST_CASE("Condition numbers from quadratures lie in their bounds") {
  for (const bool indefinite : {true, false}) {
    const auto values = network_like(400, indefinite);
    const DenseOperator a(at::diag(values));
    const auto sizes = std::get<0>(values.abs().sort());
    // The smallest that is left when 5 % of 400 are set aside.
    const double truth = 90.0 / sizes[20].item<double>();
    const double end = indefinite ? -std::numeric_limits<double>::infinity() : 0.0;
    for (const std::int64_t steps : {20, 60, 400}) {
      const auto gauss = gauss_quadrature(process_of(a, steps, 45).tridiagonal());
      const auto bounds = condition_bounds(gauss, 0.05, 400, 3.0, end);
      INFO("indefinite " << indefinite << ", " << steps << " steps: " << truth << " in ["
                         << bounds.low << ", " << bounds.high << "], quadrature "
                         << condition_number(gauss, 0.05));
      CHECK(bounds.low <= truth);
      CHECK(truth <= bounds.high);
      if (steps == 20) CHECK(condition_number(gauss, 0.05) < truth / 5.0);
      if (steps == 60 && !indefinite) CHECK(bounds.low > 100.0);
    }
  }
}

TEST_CASE("A relative error that is asked for ends the sampling") {
  const auto a = rotated(gaussian({200}, 7).abs(), 8);
  for (const auto method :
       {TraceMethod::hutchinson, TraceMethod::hutch_plus_plus, TraceMethod::xtrace}) {
    INFO("method " << static_cast<int>(method));
    const SamplingPlan plan{.products = 300, .relative_error = 0.03};
    const auto loose = trace_and_norm(a, plan, method);
    CHECK(loose.trace.products < 300);
    CHECK(loose.trace.products >= 10);
    CHECK(loose.trace.standard_error <= 0.03 * std::abs(loose.trace.value));
    const auto dense = to_dense(a);
    CHECK(std::abs(loose.trace.value - dense.trace().item<double>()) <
          5.0 * loose.trace.standard_error);
    CHECK(std::abs(loose.squared_frobenius_norm.value - dense.square().sum().item<double>()) <
          5.0 * loose.squared_frobenius_norm.standard_error);
  }
  const auto rows = squared_row_norms(a, {.products = 4000, .relative_error = 0.1});
  CHECK(rows.products < 4000);
  CHECK(rows.relative_error() <= 0.1);
  const auto determinant = trace_of_function(a, {[](double x) { return std::log(x + 1.0); }},
                                             {.steps = 30, .probes = 500}, 0.01, 30);
  CHECK(determinant.samples < 500);
  CHECK(determinant.standard_error <= 0.01 * determinant.value);
  CHECK_THROWS_WITH(hutchinson_trace(a, {.products = 0}), Contains("0 products, at least 1"));
}

// XTrace's range grows probe by probe to the one that is made at once.
TEST_CASE("A sketch that grows is the sketch that is made at once") {
  const auto a = rotated(geometric(100), 21);
  const auto at_once = xtrace(a, {.products = 30, .seed = 4});
  const auto grown = xtrace(a, {.products = 30, .relative_error = 1e-12, .seed = 4});
  CHECK(grown.products == at_once.products);
  CHECK(grown.value == Approx(at_once.value).epsilon(1e-9));
}

TEST_CASE("Diagonal and row norms come with their errors") {
  const auto a = rotated(gaussian({80}, 9), 10);
  const auto dense = to_dense(a);
  for (const auto& [estimate, truth] :
       {std::pair{diagonal(a, {.products = 400}), dense.diagonal().clone()},
        std::pair{squared_row_norms(a, {.products = 400}), dense.square().sum(1)}}) {
    const auto z = (estimate.value - truth) / estimate.standard_error;
    // 80 standard normal deviates: root mean square 1 +- 0.08.
    CHECK(z.square().mean().sqrt().item<double>() == Approx(1.0).margin(0.35));
  }
}

TEST_CASE("A density of two clusters has half its mass at each, within its band") {
  const auto values =
      at::cat({at::full({150}, -1.0, at::kDouble), at::full({150}, 2.0, at::kDouble)});
  const auto a = rotated(values + 0.01 * gaussian({300}, 11), 12);
  const auto density = spectral_density(a, {.steps = 30, .probes = 20, .seed = 3});
  const auto share = density.cumulative(0.5);
  CHECK(std::abs(share.value - 0.5) < 4.0 * share.standard_error);
  CHECK(share.standard_error < 0.02);
  CHECK(density.cumulative(10.0).value == Approx(1.0).epsilon(1e-12));
  CHECK(density.cumulative(-10.0).value == 0.0);
  CHECK(density.largest() == Approx(symmetric_eigenvalues(to_dense(a)).back()).epsilon(1e-6));
}

TEST_CASE("tr f(A) / n by quadrature covers the truth") {
  const auto values = gaussian({200}, 13).abs() + 0.1;
  const auto a = rotated(values, 14);
  const auto density = spectral_density(a, {.steps = 40, .probes = 30, .seed = 5});
  const auto log_mean = density.mean_of({[](double x) { return std::log(x); }});
  const double truth = values.log().mean().item<double>();
  CHECK(std::abs(log_mean.value - truth) < 4.0 * log_mean.standard_error);
}

TEST_CASE("More probes keep the ones before") {
  const auto a = rotated(gaussian({60}, 16), 17);
  const auto few = spectral_density(a, {.steps = 20, .probes = 2, .seed = 8});
  const auto more = spectral_density(a, {.steps = 20, .probes = 4, .seed = 8});
  CHECK(few.probes[1].nodes == more.probes[1].nodes);
}

// The error is of the size of the estimate's spread over seeds.
TEST_CASE("The error of a distance between spectra is its spread") {
  const auto a = rotated(gaussian({150}, 22), 23), b = rotated(1.5 * gaussian({150}, 24), 25);
  std::vector<double> values, errors;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const DensityOptions options{.steps = 30, .probes = 6, .seed = seed};
    const auto p = spectral_density(a, options);
    const auto q = spectral_density(b, {.steps = 30, .probes = 6, .seed = seed + 100});
    values.push_back(jensen_shannon(p, q));
    errors.push_back(jensen_shannon_error(p, q));
  }
  const double spread = sample_mean(values).standard_error * std::sqrt(12.0);
  const double said = sample_mean(errors).mean;
  // Twelve values know a standard deviation to 20 %; a jackknife of six probes is as rough.
  CHECK(said > 0.4 * spread);
  CHECK(said < 2.5 * spread);
  const auto one = spectral_density(a, {.steps = 30, .probes = 1});
  CHECK(std::isnan(jensen_shannon_error(one, one)));
}

// Every probe of both is left out once, also of the one that has more.
TEST_CASE("The distance's error is that of two samples where numbers of probes differ") {
  const DenseOperator a(at::diag(at::linspace(-1.0, 3.0, 40, at::kDouble)));
  const DenseOperator b(at::diag(at::linspace(-2.0, 4.0, 40, at::kDouble)));
  const auto p = spectral_density(a, {.steps = 10, .probes = 7, .seed = 1});
  const auto q = spectral_density(b, {.steps = 10, .probes = 3, .seed = 2});
  const auto variance = [](const std::vector<double>& left) {
    const double n = double(left.size());
    double mean = 0.0, sum = 0.0;
    for (const double x : left) mean += x / n;
    for (const double x : left) sum += (x - mean) * (x - mean);
    return (n - 1.0) / n * sum;
  };
  std::vector<double> without_p, without_q;
  for (std::size_t k = 0; k < 7; ++k) {
    auto rest = p;
    rest.probes.erase(rest.probes.begin() + std::ptrdiff_t(k));
    without_p.push_back(jensen_shannon(rest, q));
  }
  for (std::size_t k = 0; k < 3; ++k) {
    auto rest = q;
    rest.probes.erase(rest.probes.begin() + std::ptrdiff_t(k));
    without_q.push_back(jensen_shannon(p, rest));
  }
  CHECK(jensen_shannon_error(p, q) ==
        Approx(std::sqrt(variance(without_p) + variance(without_q))).epsilon(1e-10));
}
