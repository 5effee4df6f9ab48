// Products that processes share, against one process.
#include <ATen/core/grad_mode.h>

#include <functional>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/rank_processes.hpp"
#include "tests/support/small_curvature.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// Five batches of unequal size: of three ranks two have two and one has one.
std::vector<Batch> five_batches() {
  std::vector<Batch> batches;
  for (std::int64_t i = 0; i < 5; ++i) {
    const auto inputs =
        (at::arange((1 + i % 3) * 6, at::kLong) * (i + 3)).remainder(11).view({-1, 6});
    batches.push_back({inputs, (inputs * 5 + i).remainder(11)});
  }
  return batches;
}

struct Subject {
  std::unique_ptr<ModelSpec> spec = small_models()[3].spec();
  ParameterStore store{spec->layout(), at::kCPU, at::kDouble};
  std::unique_ptr<Model> model = spec->build(store);

  Subject() {
    const at::NoGradGuard no_grad;
    store.parameters().copy_(formula_values(1, store.layout().size()) * 0.4);
  }
};

using Products = std::function<std::vector<at::Tensor>(Curvature&, const ParameterLayout&)>;

// Of three ranks rank 0 asks, and compares with what it finds alone. The error is relative.
void check_shared(ProductMethod method, double error, const Products& products) {
  const auto results = on_ranks(3, [&](const Ranks& ranks, const auto&) {
    Subject shared;
    Curvature own(*shared.model, shared.store, five_batches(), method, ranks);
    if (!ranks.is_first()) return own.serve();
    const auto found = products(own, shared.store.layout());
    Subject alone;
    Curvature whole(*alone.model, alone.store, five_batches(), method);
    const auto expected = products(whole, alone.store.layout());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto off = (found[i] - expected[i]).norm() / expected[i].norm();
      if (!(off.template item<double>() < error)) {
        throw std::runtime_error(fmt::format("{} is off by {}", i, off.template item<double>()));
      }
    }
  });
  for (const auto& result : results) {
    INFO(result.text);
    CHECK(result.exit_code == 0);
  }
}

std::vector<at::Tensor> hessian(Curvature& curvature, const ParameterLayout& layout) {
  const ParameterSubset all(layout), some(layout, {1, 3});
  const auto v = formula_values(7, all.size()).to(at::kDouble);
  const auto whole = at::empty_like(v), rows = at::empty({some.size()}, at::kDouble);
  curvature.hessian_products({{all, v, all, whole}, {all, v, some, rows}});
  const auto again = at::empty_like(v);
  curvature.hessian_product(all, whole, all, again);
  return {whole, rows, again, curvature.gradient(), at::full({}, curvature.loss(), at::kDouble)};
}

std::vector<at::Tensor> outer(Curvature& curvature, const ParameterLayout& layout) {
  const ParameterSubset all(layout);
  const auto v = formula_values(8, all.size()).to(at::kDouble);
  const auto gauss_newton = at::empty_like(v), fisher = at::empty_like(v);
  curvature.gauss_newton_product(all, v, gauss_newton);
  curvature.fisher_product(all, v, fisher);
  return {gauss_newton, fisher};
}

}  // namespace

TEST_CASE("parallel: exact products of three processes are those of one", "[parallel]") {
  // float64 sums of five batches in another order
  check_shared(ProductMethod::kept_graph, 1e-13, hessian);
  check_shared(ProductMethod::fresh_graph, 1e-13, hessian);
  check_shared(ProductMethod::kept_graph, 1e-13, outer);
}

TEST_CASE("parallel: difference products of three processes are those of one", "[parallel]") {
  // A difference magnifies rounding by the inverse of its length, some 1e-5.
  check_shared(ProductMethod::central_difference, 1e-6, hessian);
  check_shared(ProductMethod::finite_difference, 1e-5, hessian);
}
