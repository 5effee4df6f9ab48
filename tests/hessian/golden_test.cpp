// Products on tiny transformers against those of torch.func (tests/golden/record_products.py).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <fstream>

#include "hessian/curvature_operators.hpp"
#include "hessian/hessian_parts.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor matrix_of(const nlohmann::json& rows) {
  std::vector<at::Tensor> tensors;
  for (const auto& row : rows.get<std::vector<std::vector<std::int64_t>>>()) {
    tensors.push_back(at::tensor(row, at::kLong));
  }
  return at::stack(tensors);
}

at::Tensor numbers(const nlohmann::json& values) {
  return at::tensor(values.get<std::vector<double>>(), at::kDouble);
}

void fill(const ParameterStore& store) {
  at::NoGradGuard no_grad;
  store.parameters().copy_(formula_values(1, store.layout().size()) * 0.4);
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    if (store.layout().parameters()[i].role == ParameterRole::norm) store.tensors()[i].add_(1.0);
  }
}

double distance(const at::Tensor& found, const at::Tensor& expected) {
  return (found - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

}  // namespace

// Float64 on both sides: sums in another order, relative 1e-15 each, through two backward passes.
TEST_CASE("Products on tiny GPT-2 and LLaMA are those of torch.func") {
  constexpr double kTolerance = 1e-11;
  std::ifstream file(BLOCKWISE_SOURCE_DIR "/tests/golden/products.json");
  const auto cases = nlohmann::json::parse(file);
  REQUIRE(cases.size() == 5);
  for (const auto& recorded : cases) {
    INFO(recorded["name"].get<std::string>());
    const auto spec = model_spec(recorded["family"], recorded["fields"]);
    ParameterStore store(spec->layout(), at::kCPU, at::kDouble);
    fill(store);
    const auto model = spec->build(store);
    Curvature curvature(*model, store,
                        {{matrix_of(recorded["inputs"]), matrix_of(recorded["targets"])}});
    CHECK(curvature.loss() == Approx(recorded["loss"].get<double>()).epsilon(1e-13));
    CHECK(distance(curvature.gradient(), numbers(recorded["gradient"])) < kTolerance);
    const auto n = store.layout().size();
    const auto v = formula_values(3, n);
    const ParameterSubset all(store.layout());
    const CurvatureOperator h(curvature, CurvatureKind::hessian, all);
    CHECK(distance(h(v), numbers(recorded["hessian_product"])) < kTolerance);
    const CurvatureOperator g(curvature, CurvatureKind::gauss_newton, all);
    CHECK(distance(g(v), numbers(recorded["gauss_newton_product"])) < kTolerance);
    std::vector<ParameterSubset> tensors;
    for (std::size_t i = 0; i < store.tensors().size(); ++i) {
      tensors.emplace_back(store.layout(), std::vector<std::size_t>{i});
    }
    const BlockDiagonalOperator d(curvature, CurvatureKind::hessian, tensors);
    CHECK(distance(d(v), numbers(recorded["block_diagonal_product"])) < kTolerance);
  }
}
