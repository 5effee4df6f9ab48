// Differences of gradients against exact products on GPT-2 from 3 to 124 million parameters, the
// largest the shape of configs/gpt2/125m.yaml. Hidden: minutes, and 4 GB for the largest.
//
//   build/release/test_hessian "[large]"
//
// Relative errors, with those that are stated beside them, in float32:
//
//                        one-sided                 central
//   3M    gradient       4.0e-3 of 3.7e-2          1.6e-4 of 2.3e-3
//         steepest       6.6e-3 of 2.1e-2          4.1e-4 of 1.3e-3
//         random         7.8e-3 of 4.3e-2          1.0e-3 of 3.9e-3
//   10M   gradient       8.9e-3 of 4.2e-2          1.4e-3 of 3.7e-3
//         steepest       1.1e-2 of 2.4e-2          2.1e-3 of 2.1e-3
//         random         7.5e-3 of 5.1e-2          1.3e-3 of 6.7e-3
//   124M  gradient       2.5e-2 of 1.1e-1          4.3e-3 of 1.3e-2
//         steepest       3.3e-2 of 8.7e-2          3.4e-3 of 1.0e-2
//         random         1.0e-2 of 1.8e-1          2.6e-3 of 3.1e-2
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "core/base/random_stream.hpp"
#include "core/difference_step.hpp"
#include "hessian/curvature_operators.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kTokens = 32;

// One sequence of random tokens, and the model some steps of gradient descent away from its
// initialisation, where the loss is steep.
struct Setup {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::vector<Batch> batches;

  Setup(std::int64_t layers, std::int64_t width, std::int64_t vocabulary)
      : spec(model_spec("gpt2", {{"vocab_size", vocabulary},
                                 {"block_size", 1024},
                                 {"n_layer", layers},
                                 {"n_head", width / 64},
                                 {"n_embd", width},
                                 {"bias", false},
                                 {"tie_word_embeddings", true}})),
        store(std::make_unique<ParameterStore>(spec->layout(), at::kCPU)) {
    store->initialize(7);
    model = spec->build(*store);
    auto generator = make_generator(5, RandomStream::data);
    const auto tokens = at::randint(vocabulary, {1, kTokens + 1}, generator, at::kLong);
    batches = {{tokens.narrow(1, 0, kTokens), tokens.narrow(1, 1, kTokens)}};
    for (int step = 0; step < 10; ++step) descend();
  }

  void descend() {
    Curvature curvature(*model, *store, batches, ProductMethod::fresh_graph);
    const auto gradient = curvature.gradient();
    const at::NoGradGuard no_grad;
    store->parameters().add_(gradient, -0.05);
  }
};

double length_of(const at::Tensor& x) { return x.norm().item<double>(); }

struct Direction {
  const char* name;
  at::Tensor unit, product;  // H unit, exactly
};

// Power steps from the gradient, along which the curvature is large already; the gradient; and a
// random vector.
std::vector<Direction> directions(Setup& setup, const ParameterSubset& all) {
  Curvature curvature(*setup.model, *setup.store, setup.batches, ProductMethod::fresh_graph);
  const CurvatureOperator h(curvature, CurvatureKind::hessian, all);
  std::vector<Direction> found;
  auto u = curvature.gradient().clone();
  u.div_(length_of(u));
  found.push_back({"gradient", u, h(u)});
  constexpr int kPowerSteps = 5;
  for (int i = 0; i < kPowerSteps; ++i) {
    const auto y = i == 0 ? found.front().product : h(u);
    u = y / length_of(y);
  }
  found.push_back({"steepest", u, h(u)});
  auto generator = make_generator(3, RandomStream::probe);
  const auto random = at::randn({all.size()}, generator, at::kFloat);
  u = random / length_of(random);
  found.push_back({"random", u, h(u)});
  return found;
}

// Errors of a method's products, in the order of the directions; each is covered by what is stated.
std::vector<double> checked_errors(Setup& setup, const ParameterSubset& all, ProductMethod method,
                                   const std::vector<Direction>& directions) {
  Curvature curvature(*setup.model, *setup.store, setup.batches, method);
  const CurvatureOperator d(curvature, CurvatureKind::hessian, all);
  const auto& step = curvature.difference_step(all);
  std::vector<double> errors;
  for (const auto& [name, unit, product] : directions) {
    const double size = length_of(product), error = length_of(d(unit) - product);
    const bool typical = name == std::string("random");
    const double stated = typical ? step.typical_error * size : step.error;
    fmt::print("{:>11} {:<18} {:<9} h {:.2e}  |Hu| {:.3g}  error {:.2e}  stated {:.2e} of it\n",
               all.size(),
               method == ProductMethod::central_difference ? "central_difference" : "one-sided",
               name, step.length, size, error / size, stated / size);
    INFO(name);
    CHECK(error <= stated);
    errors.push_back(error);
  }
  return errors;
}

void check_central_differences(std::int64_t layers, std::int64_t width, std::int64_t vocabulary) {
  Setup setup(layers, width, vocabulary);
  const ParameterSubset all(setup.spec->layout());
  const auto before = setup.store->parameters().clone();
  const auto exact = directions(setup, all);
  const auto once = checked_errors(setup, all, ProductMethod::finite_difference, exact);
  const auto twice = checked_errors(setup, all, ProductMethod::central_difference, exact);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    INFO(exact[i].name);
    CHECK(twice[i] <= once[i]);
  }
  CHECK(at::equal(setup.store->parameters(), before));
}

}  // namespace

TEST_CASE("Central differences are as good as one-sided ones at 3M parameters", "[.][large]") {
  check_central_differences(4, 192, 4096);
}
TEST_CASE("Central differences are as good as one-sided ones at 10M parameters", "[.][large]") {
  check_central_differences(6, 320, 8192);
}
TEST_CASE("Central differences are as good as one-sided ones at 30M parameters", "[.][large]") {
  check_central_differences(6, 384, 50304);
}
TEST_CASE("Central differences are as good as one-sided ones at 124M parameters", "[.][large]") {
  check_central_differences(12, 768, 50304);
}
