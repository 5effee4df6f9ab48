// The best rate of gradient descent against closed forms.
#include "hessian/evidence/best_rate.hpp"

#include <ATen/ATen.h>

#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

at::Tensor rotated(const at::Tensor& eigenvalues, std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const auto n = eigenvalues.numel();
  const auto q = std::get<0>(at::linalg_qr(at::randn({n, n}, generator, at::kDouble)));
  const auto h = q.matmul(eigenvalues.diag()).matmul(q.t());
  return (h + h.t()) / 2.0;
}

// The quadratics of Adam-mini's paper: 30 eigenvalues each out of three.
at::Tensor thirty_of(const std::vector<double>& three) {
  return at::tensor(three, at::kDouble).repeat(10);
}

// Steps of gradient descent that bring the norm from x0 below 1e-6 of it.
int steps_to_converge(const at::Tensor& h, double rate) {
  auto x = at::ones({h.size(0)}, at::kDouble);
  const double goal = 1e-6 * x.norm().item<double>();
  int steps = 0;
  for (; steps < 100000 && x.norm().item<double>() > goal; ++steps) x = x - h.matmul(x) * rate;
  return steps;
}

}  // namespace

TEST_CASE("best rate: within 5 % of 2 / (largest + smallest) on the paper's quadratics") {
  const std::vector<std::vector<double>> spectra = {
      {1.0, 2.0, 3.0}, {99.0, 100.0, 101.0}, {4998.0, 4999.0, 5000.0}, {1.0, 100.0, 5000.0}};
  for (const auto& three : spectra) {
    INFO("eigenvalues " << three[0] << " .. " << three[2]);
    const DenseOperator h(rotated(thirty_of(three), 3));
    const auto ends = curvature_ends(h, {});
    CHECK(ends.largest == Approx(three[2]).epsilon(1e-6));
    CHECK(ends.smallest == Approx(three[0]).epsilon(1e-6));
    CHECK(ends.best_rate(0.0) == Approx(2.0 / (three[0] + three[2])).epsilon(0.05));
    CHECK(ends.products <= 60);
  }
}

TEST_CASE("best rate: no other rate converges faster, and the error bound holds early") {
  const auto eigenvalues = at::logspace(-1.0, 2.0, 40, 10.0, at::kDouble);
  const auto matrix = rotated(eigenvalues, 5);
  const DenseOperator h(matrix);
  CurvatureEndsOptions options;
  options.most_products = 40;
  options.tolerance = 0.0;
  const double best = curvature_ends(h, options).best_rate(0.0);
  CHECK(best == Approx(2.0 / 100.1).epsilon(1e-6));
  CHECK(curvature_ends(h, options).smallest_error < 1e-6 * 100.0);
  const int steps = steps_to_converge(matrix, best);
  for (const double factor : {0.8, 0.95, 1.0005}) {
    CHECK(steps < steps_to_converge(matrix, best * factor));
  }
  options.most_products = 8;
  const auto early = curvature_ends(h, options);
  CHECK(early.products == 8);
  CHECK(early.error > 0.0);
  CHECK(std::abs(early.sum(0.0) - 100.1) <= early.error);
  // The smallest has not converged after eight steps: what stands there bounds it from above.
  CHECK(early.smallest >= 0.1);
  CHECK(early.smallest_error > 0.01 * early.largest);
  // So the condition number is not known without damping, which says it where it rules.
  CHECK(early.condition_error(0.0) > 0.5);
  CHECK(early.condition(0.0) < 1000.0 * 0.9);
  CHECK(early.condition_error(100.0) < 0.1);
}

TEST_CASE("best rate: saddles count their largest curvature, nothing has none, damping adds") {
  const DenseOperator saddle(rotated(at::tensor({-7.0, -1.0, 2.0, 5.0}, at::kDouble), 1));
  const auto ends = curvature_ends(saddle, {});
  CHECK(ends.largest == Approx(7.0));
  CHECK(ends.best_rate(0.0) == Approx(2.0 / 7.0));
  CHECK(ends.best_rate(0.5) == Approx(2.0 / 8.0));
  CHECK(ends.condition_error(0.0) == 0.0);
  const DenseOperator nothing(at::zeros({5, 5}, at::kDouble));
  CHECK(curvature_ends(nothing, {}).best_rate(0.0) == 0.0);
  const DenseOperator one(at::full({1, 1}, 4.0, at::kDouble));
  CHECK(curvature_ends(one, {}).best_rate(0.0) == Approx(2.0 / 8.0));
}
