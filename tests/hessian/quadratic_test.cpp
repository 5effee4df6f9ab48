// The model `quadratic`: its Hessian has the eigenvalues that its options say, in its blocks.
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "core/parameters/parameter_store.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/dense.hpp"
#include "hessian/evidence/best_rate.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Problem {
  std::unique_ptr<ModelSpec> spec;
  ParameterLayout layout;
  ParameterStore store;
  std::unique_ptr<Model> model;
  std::shared_ptr<const Dataset> data;

  explicit Problem(const nlohmann::json& fields)
      : spec(model_spec("quadratic", fields)),
        layout(spec->layout()),
        store(layout, at::kCPU, at::kDouble),
        model(spec->build(store)),
        data(dataset_spec("no_data", nlohmann::json::object())->open(1)) {
    at::NoGradGuard no_grad;
    store.parameters().copy_(formula_values(3, layout.size()));
  }
};

}  // namespace

TEST_CASE("quadratic: eigenvalues by block, loss and gradient are those of w' H w / 2") {
  Problem p({{"blocks", 3}, {"block_size", 5}, {"condition", 1000.0}, {"block_condition", 10.0}});
  const auto batch = p.data->training_examples(0, 2);
  Curvature curvature(*p.model, p.store, {batch});
  const auto h =
      to_dense(CurvatureOperator(curvature, CurvatureKind::hessian, ParameterSubset(p.layout)));
  const auto w = p.store.parameters().detach();
  for (std::int64_t b = 0; b < 3; ++b) {
    const auto block = h.narrow(0, 5 * b, 5).narrow(1, 5 * b, 5);
    const auto values = symmetric_eigenvalues(block);
    for (std::int64_t i = 0; i < 5; ++i) {
      // 1 .. 10, 10 .. 100, 100 .. 1000, in equal ratios.
      CHECK(values[std::size_t(i)] == Approx(std::pow(10.0, double(b) + double(i) / 4.0)));
    }
    CHECK(block.diagonal().max().item<double>() < 0.99 * values.back());  // rotated
  }
  auto outside = h.clone();
  for (std::int64_t b = 0; b < 3; ++b) outside.narrow(0, 5 * b, 5).narrow(1, 5 * b, 5).zero_();
  CHECK(outside.abs().max().item<double>() == 0.0);
  CHECK(curvature.loss() == Approx(0.5 * w.dot(h.mv(w)).item<double>()));
  CHECK(at::allclose(curvature.gradient(), h.mv(w), 1e-12, 1e-12));
  ForwardContext context;
  CHECK(p.model->loss(batch, context).item<double>() == Approx(curvature.loss()));
  const auto gauss_newton = to_dense(
      CurvatureOperator(curvature, CurvatureKind::gauss_newton, ParameterSubset(p.layout)));
  CHECK(at::allclose(gauss_newton, h, 1e-12, 1e-12));
}

TEST_CASE("quadratic: the rate of a block is within 5 % of the optimum, problems differ") {
  const nlohmann::json fields = {{"condition", 5000.0}, {"block_condition", 8.0}};
  Problem p(fields);
  Curvature curvature(*p.model, p.store, {p.data->training_examples(0, 1)});
  for (std::size_t b = 0; b < 3; ++b) {
    const CurvatureOperator a(curvature, CurvatureKind::hessian, ParameterSubset(p.layout, {b}));
    const double lowest = std::pow(5000.0 / 8.0, double(b) / 2.0);
    const double best = 2.0 / (lowest * 9.0);
    CHECK(curvature_ends(a, {}).best_rate(0.0) == Approx(best).epsilon(0.05));
  }
  auto other = fields;
  other["problem"] = 2;
  Problem q(other);
  ForwardContext context;
  const auto batch = p.data->training_examples(0, 1);
  CHECK(p.model->loss(batch, context).item<double>() !=
        q.model->loss(batch, context).item<double>());
}

TEST_CASE("quadratic: options and data that do not fit are one sentence") {
  CHECK_THAT(input_error([] {
               model_spec("quadratic", {{"condition", 2.0}, {"block_condition", 8.0}});
             }),
             Contains("block_condition") && Contains("is above model.condition, 2"));
  CHECK_THAT(input_error([] {
               model_spec("quadratic", nlohmann::json::object())
                   ->adapt_to({DataShape::Inputs::tokens, 5, 0, 4});
             }),
             Contains("data.kind no_data"));
}
