// Differences of gradients along the vectors that matter: the step comes from the curvature.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <limits>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/difference_step.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/lanczos.hpp"
#include "hessian/product_memory.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor gaussian(std::int64_t size, std::uint64_t seed, at::ScalarType dtype) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn({size}, generator, at::kDouble).to(dtype);
}

// A model some steps of gradient descent away from its initialisation, where its loss is steep.
struct Setup {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::vector<Batch> batches;

  Setup(std::int64_t width, std::int64_t vocabulary, at::ScalarType dtype)
      : spec(model_spec("gpt2", {{"vocab_size", vocabulary},
                                 {"block_size", 16},
                                 {"n_layer", 2},
                                 {"n_head", 2},
                                 {"n_embd", width}})),
        store(std::make_unique<ParameterStore>(spec->layout(), at::kCPU, dtype)) {
    store->initialize(7);
    model = spec->build(*store);
    auto generator = make_generator(5, RandomStream::data);
    // Few of the tokens, so that there is something to learn.
    const auto tokens = at::randint(8, {4, 17}, generator, at::kLong);
    batches = {{tokens.narrow(1, 0, 16), tokens.narrow(1, 1, 16)}};
    for (int step = 0; step < 20; ++step) {
      Curvature curvature(*model, *store, batches, ProductMethod::finite_difference);
      const auto gradient = curvature.gradient();
      at::NoGradGuard no_grad;
      store->parameters().add_(gradient, -0.3);
    }
  }

  Curvature curvature(ProductMethod method) { return {*model, *store, batches, method}; }
};

double length_of(const at::Tensor& x) { return x.norm().item<double>(); }

struct Extremes {
  at::Tensor largest, smallest;
};

// Eigenvectors of both ends, by exact products.
Extremes extremes(const LinearOperator& h) {
  LanczosOptions options;
  options.steps = 40;
  Lanczos process(h, gaussian(h.rows(), 1, at::kDouble).to(h.options()), options);
  process.run([](std::int64_t) { return true; });
  Extremes found;
  double low = 0.0, high = 0.0;
  for (const auto& pair : process.pairs(1, SpectrumEnd::both, Lanczos::Residuals::bounded)) {
    if (pair.value > high) found.largest = pair.vector, high = pair.value;
    if (pair.value < low) found.smallest = pair.vector, low = pair.value;
  }
  REQUIRE(found.largest.defined());
  REQUIRE(found.smallest.defined());
  return found;
}

// ||difference - H u|| for unit u, and whether the error that is stated covers it.
double checked_error(const char* vector, const LinearOperator& exact,
                     const LinearOperator& difference, const at::Tensor& u, double stated) {
  const double error = length_of(difference(u) - exact(u));
  INFO(vector);
  CHECK(error <= stated);
  return error;
}

}  // namespace

TEST_CASE("Central differences are as good as one-sided ones along the vectors that matter") {
  struct Case {
    std::int64_t width, vocabulary;
    at::ScalarType dtype;
    double one_sided, central;  // relative error at the largest eigenvalue, at most
  };
  // With a h^p of order 1 where h^2 curvature is 1, a h^p / k + b / (h k') at its least is about
  // the square root of the gradient's rounding (1e-6 and 1e-15 of it) times that of k / k'
  // one-sided, their powers 2/3 central; k / k' is below 100.
  for (const auto& c :
       {Case{16, 50, at::kFloat, 2e-2, 2e-3}, Case{48, 300, at::kFloat, 2e-2, 2e-3},
        Case{16, 50, at::kDouble, 1e-6, 1e-8}, Case{48, 300, at::kDouble, 1e-6, 1e-8}}) {
    Setup setup(c.width, c.vocabulary, c.dtype);
    INFO("width " << c.width << ", float64 " << (c.dtype == at::kDouble));
    const ParameterSubset all(setup.spec->layout());
    // Not a kept graph: differences move the parameters under it.
    auto truth = setup.curvature(ProductMethod::fresh_graph);
    const CurvatureOperator h(truth, CurvatureKind::hessian, all);
    const auto [top, bottom] = extremes(h);
    const auto random = gaussian(all.size(), 3, c.dtype);
    const auto typical = random / length_of(random);
    const auto before = setup.store->parameters().clone();
    double along_top[2], along_bottom[2];
    for (const auto method :
         {ProductMethod::finite_difference, ProductMethod::central_difference}) {
      auto curvature = setup.curvature(method);
      const CurvatureOperator d(curvature, CurvatureKind::hessian, all);
      const auto& step = curvature.difference_step(all);
      const auto i = method == ProductMethod::central_difference ? 1 : 0;
      INFO((i == 1 ? "central" : "one-sided") << ", step " << step.length);
      along_top[i] = checked_error("largest", h, d, top, step.error);
      along_bottom[i] = checked_error("smallest", h, d, bottom, step.error);
      checked_error("random", h, d, typical, step.typical_error * length_of(h(typical)));
      CHECK(step.typical_error > 0.0);
      CHECK(along_top[i] < (i == 1 ? c.central : c.one_sided) * length_of(h(top)));
      // Three times the worst that the model of the error has.
      CHECK(step.error < 30.0 * (i == 1 ? c.central : c.one_sided) * length_of(h(top)));
    }
    CHECK(along_top[1] <= along_top[0]);
    CHECK(along_bottom[1] <= along_bottom[0]);
    CHECK(at::equal(setup.store->parameters(), before));
  }
}

TEST_CASE("The step of differences is found once for the tensors of a subset, and counted") {
  Setup setup(16, 50, at::kDouble);
  const auto& layout = setup.spec->layout();
  const ParameterSubset all(layout), one(layout, {0});
  for (const auto& [method, products] : {std::pair{ProductMethod::finite_difference, 1.0},
                                         std::pair{ProductMethod::central_difference, 2.0}}) {
    auto curvature = setup.curvature(method);
    const CurvatureOperator whole(curvature, CurvatureKind::hessian, all);
    const CurvatureOperator part(curvature, CurvatureKind::hessian, one);
    const auto v = gaussian(all.size(), 1, at::kDouble);
    const auto first = whole(v);
    CHECK(curvature.cost() == 1.0 + calibration_cost(method) + products);
    CHECK(at::equal(whole(v), first));
    CHECK(curvature.cost() == 1.0 + calibration_cost(method) + 2.0 * products);
    part(gaussian(one.size(), 1, at::kDouble));
    CHECK(curvature.cost() == 1.0 + 2.0 * calibration_cost(method) + 3.0 * products);
    // Another vector first: the step is a function of the point.
    auto again = setup.curvature(method);
    const CurvatureOperator other(again, CurvatureKind::hessian, all);
    other(gaussian(all.size(), 2, at::kDouble));
    CHECK(at::equal(other(v), first));
    CHECK(again.loss() == Approx(setup.curvature(ProductMethod::kept_graph).loss()));
  }
  CHECK(calibration_cost(ProductMethod::finite_difference) == 9.0);
  CHECK(calibration_cost(ProductMethod::central_difference) == 14.0);
  CHECK(calibration_cost(ProductMethod::kept_graph) == 0.0);
}

TEST_CASE("The search for a step can be left, and the parameters stay what they are") {
  Setup setup(16, 50, at::kDouble);
  const ParameterSubset all(setup.spec->layout());
  const auto before = setup.store->parameters().clone();
  auto curvature = setup.curvature(ProductMethod::central_difference);
  int asked = 0;
  const auto leave = [&] {
    if (++asked == 3) throw InputError("left");
  };
  CHECK_THROWS_WITH(curvature.difference_step(all, leave), "left");
  CHECK(at::equal(setup.store->parameters(), before));
  const auto found = curvature.difference_step(all).length;
  CHECK(found == setup.curvature(ProductMethod::central_difference).difference_step(all).length);
}

// A gradient with curvature 50 in one direction and little elsewhere, second and third powers along
// it, and noise of norm 1e-6 for rounding.
TEST_CASE("The step is where truncation and rounding are least together") {
  const std::int64_t n = 400;
  const double rounding = 1e-6;
  auto generator = make_generator(1, RandomStream::probe);
  const auto gradient = [&](const at::Tensor& x) {
    const double steep = x[0].item<double>();
    auto g = x * 0.01;
    g[0] = 50.0 * steep + 40.0 * steep * steep + 300.0 * steep * steep * steep;
    return g + rounding / std::sqrt(double(n)) * at::randn({n}, generator, at::kDouble);
  };
  const DifferenceProducts::Product one_sided = [&](const at::Tensor& u, double h,
                                                    const at::Tensor& y) {
    y.copy_((gradient(h * u) - gradient(0.0 * u)) / h);
  };
  const DifferenceProducts::Product central = [&](const at::Tensor& u, double h,
                                                  const at::Tensor& y) {
    y.copy_((gradient(h * u) - gradient(-h * u)) / (2.0 * h));
  };
  const auto found = [&](const DifferenceProducts::Product& wanted, int order) {
    return choose_difference_step({one_sided, wanted, order, 30.0, 1.0, 6e-8},
                                  at::linspace(1.0, 0.0, n, at::kDouble),
                                  at::ones({n}, at::kDouble));
  };
  // a is 40 one-sided and 300 central, b sqrt(2) 1e-6 and half of it; a vector of ones has a
  // twentieth of the steepest curvature.
  const double b = std::sqrt(2.0) * rounding, ratio = 20.0;
  const double best = std::sqrt(b * ratio / 40.0),
               best_central = std::cbrt(b * ratio / 2.0 / 600.0);
  const auto once = found(one_sided, 1), twice = found(central, 2);
  // Noise of one sample, and powers beside the first in the longer pair: within a half.
  CHECK(once.length == Approx(best).epsilon(0.5));
  CHECK(twice.length == Approx(best_central).epsilon(0.5));
  CHECK(once.error == Approx(3.0 * (40.0 * best + b / best)).epsilon(0.5));
  CHECK(once.typical_error == Approx(3.0 * (40.0 * best / 50.0 + b / best / 2.5)).epsilon(0.5));
  CHECK(twice.error < once.error);
  CHECK(twice.typical_error < once.typical_error);
  const auto infinite = [](const at::Tensor& u, double, const at::Tensor& y) { y.copy_(u / 0.0); };
  CHECK_THROWS_AS(found(infinite, 1), InputError);
}

TEST_CASE("The norm of a long float32 vector does not stop growing") {
  // 2^27 ones and one 4096: in float32 one sum of their squares would stay at 2^24.
  auto x = at::ones({std::int64_t{1} << 27});
  x[0] = 4096.0;
  CHECK(vector_norm(x) == Approx(std::sqrt(std::pow(2.0, 27) - 1.0 + 16777216.0)).epsilon(1e-7));
  CHECK(vector_norm(at::zeros({0})) == 0.0);
}

TEST_CASE(
    "Without higher derivatives the step is long, without curvature there is one all the same") {
  const auto random = gaussian(50, 4, at::kDouble);
  const auto product = [&](double curvature) {
    return
        [curvature](const at::Tensor& u, double, const at::Tensor& y) { y.copy_(curvature * u); };
  };
  for (const double curvature : {0.0, 1e-20, 4.0, 1e20}) {
    const DifferenceProducts products{product(curvature), product(curvature), 2, 10.0, 1.0, 1e-16};
    const auto step = choose_difference_step(products, at::zeros_like(random), random.clone());
    const double longest = curvature > 0.0 ? std::min(1.0, 0.2 / std::sqrt(curvature)) : 1.0;
    INFO(curvature);
    CHECK(step.length == Approx(longest));
    CHECK(step.error == Approx(3.0 * 1e-16 / longest));
  }
}
