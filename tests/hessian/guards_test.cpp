// The guards pass where products are right and fail where they are not.
#include <ATen/core/grad_mode.h>

#include "core/base/random_stream.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/guards.hpp"
#include "hessian/krylov_basis.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Setup {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  Batch batch;

  explicit Setup(const SmallModel& small, at::ScalarType dtype)
      : spec(small.spec()),
        store(std::make_unique<ParameterStore>(spec->layout(), at::kCPU, dtype)),
        model(),
        batch(small_batch(small)) {
    store->initialize(7);
    at::NoGradGuard no_grad;
    auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
    store->parameters().add_(
        at::randn(store->parameters().sizes(), generator, at::kDouble).to(dtype), 0.3);
    model = spec->build(*store);
  }
};

double worst(const std::vector<SymmetryCheck>& checks) {
  double error = 0.0;
  for (const auto& check : checks) error = std::max(error, check.error);
  return error;
}

}  // namespace

TEST_CASE("Scaling symmetries hold for every transformer, to rounding") {
  for (auto small : small_models()) {
    if (small.family == "mlp") continue;
    // RMSNorm and LayerNorm divide by sqrt(variance + eps): the norm's input is not scaled, so eps
    // is no obstacle.
    INFO(small.name);
    Setup exact(small, at::kDouble);
    Curvature curvature(*exact.model, *exact.store, {exact.batch});
    const auto checks = check_symmetries(curvature, 1000);
    CHECK(checks.size() == scaling_symmetries(*exact.store).size());
    CHECK(checks.size() >= 6);
    CHECK(worst(checks) < 1e-13);
    Setup single(small, at::kFloat);
    Curvature rough(*single.model, *single.store, {single.batch});
    CHECK(worst(check_symmetries(rough)) < 1e-4);
  }
}

TEST_CASE("A wrong sign or a head cut in the wrong place breaks the identity") {
  Setup setup(small_models()[4], at::kDouble);
  Curvature curvature(*setup.model, *setup.store, {setup.batch});
  const ParameterSubset all(setup.spec->layout());
  const auto error = [&](const at::Tensor& d) {
    auto product = at::empty_like(setup.store->parameters());
    curvature.hessian_product(all, d * setup.store->parameters(), all, product);
    const auto expected = d * curvature.gradient();
    return euclidean_norm(product + expected) /
           (euclidean_norm(product) + euclidean_norm(expected));
  };
  const auto right = scaling_symmetries(*setup.store)[0].d;
  CHECK(error(right) < 1e-13);
  CHECK(error(right.abs()) > 0.1);      // both +
  CHECK(error(right.roll({1})) > 0.1);  // one element off
}

TEST_CASE("With norms on heads only the value symmetry is claimed") {
  SmallModel small = small_models()[4];
  small.fields["qk_norm"] = true;
  Setup setup(small, at::kDouble);
  Curvature curvature(*setup.model, *setup.store, {setup.batch});
  const auto checks = check_symmetries(curvature, 100);
  CHECK(checks.size() == 4);  // two layers, two value heads
  CHECK(worst(checks) < 1e-13);
}

// Their width tells nothing where it is the residual stream's.
TEST_CASE("Norms on heads as wide as the model are told from those of the residual stream") {
  SmallModel small = small_models()[3];
  small.fields.update({{"qk_norm", true}, {"n_head", 1}});
  Setup setup(small, at::kDouble);
  Curvature curvature(*setup.model, *setup.store, {setup.batch});
  const auto checks = check_symmetries(curvature, 100);
  CHECK(checks.size() == 2);  // two layers, one value head
  CHECK(worst(checks) < 1e-13);
}

TEST_CASE("Difference products pass at their own precision, a noisy operator is caught") {
  Setup setup(small_models()[0], at::kDouble);
  Curvature differences(*setup.model, *setup.store, {setup.batch},
                        ProductMethod::central_difference);
  CHECK(worst(check_symmetries(differences)) < 1e-6);
  const CurvatureOperator h(differences, CurvatureKind::hessian,
                            ParameterSubset(setup.spec->layout()));
  const auto check = check_operator(h);
  CHECK(check.noise == 0.0);
  CHECK(check.asymmetry < 1e-6);
  CHECK(check.nonlinearity < 1e-6);
  auto generator = make_generator(1, RandomStream::probe);
  const FunctionOperator noisy(100, at::TensorOptions(at::kDouble), [&](const at::Tensor& x) {
    return x + 1e-3 * at::randn({100}, generator, at::kDouble) * x.norm() / 10.0;
  });
  CHECK(check_operator(noisy).noise == Approx(1.4e-3).epsilon(0.5));
}
