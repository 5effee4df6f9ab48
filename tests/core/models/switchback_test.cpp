// SwitchBack against loops in double, its exact part against the plain layer, and models that have
// it.
#include "core/models/switchback.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "core/curvature.hpp"
#include "core/models/layers.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor drawn(at::IntArrayRef shape, int seed, double size = 1.0) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator) * size;
}

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

// sum_k q(a_ik) q(b_kj) s_i s_b / 127^2, the rows of a with a scale each, b with one.
at::Tensor coded_product(const at::Tensor& a, const at::Tensor& b) {
  const auto x = a.to(at::kDouble), w = b.to(at::kDouble);
  const auto product = at::zeros({x.size(0), w.size(1)}, at::kDouble);
  const double of_w = largest(w);
  for (int i = 0; i < x.size(0); ++i) {
    const double of_row = largest(x[i]);
    for (int j = 0; j < w.size(1); ++j) {
      double sum = 0.0;
      for (int k = 0; k < x.size(1) && of_row > 0.0; ++k) {
        sum += std::nearbyint(x[i][k].item<double>() * 127.0 / of_row) *
               std::nearbyint(w[k][j].item<double>() * 127.0 / of_w);
      }
      product[i][j] = sum * of_row * of_w / (127.0 * 127.0);
    }
  }
  return product;
}

// What is rounded beside the codes: the scales' product and the result, in float32.
void check_near(const at::Tensor& value, const at::Tensor& expected) {
  CHECK(value.sizes() == expected.sizes());
  const double size = largest(expected);
  CHECK(largest(value.to(at::kDouble) - expected) <= 4e-7 * size);
}

struct Layer {
  at::Tensor x = drawn({2, 3, 7}, 1).set_requires_grad(true);
  at::Tensor weight = drawn({5, 7}, 2, 0.1).set_requires_grad(true);
  at::Tensor bias = drawn({5}, 3).set_requires_grad(true);
  at::Tensor g = drawn({2, 3, 5}, 4, 1e-4);
  std::vector<at::Tensor> gradients(const at::Tensor& y) const {
    return torch::autograd::grad({y}, {x, weight, bias}, {g});
  }
};

}  // namespace

TEST_CASE("switchback: forward and input gradient are products of codes, the weight's is exact") {
  const Layer layer;
  const auto y = switchback_linear(layer.x, layer.weight, layer.bias);
  const auto rows = layer.x.detach().flatten(0, 1);
  const auto product = coded_product(rows, layer.weight.detach().t());
  check_near(y.detach().flatten(0, 1), product + layer.bias.detach());
  const auto coded = layer.gradients(y);
  check_near(coded[0].flatten(0, 1), coded_product(layer.g.flatten(0, 1), layer.weight.detach()));
  const auto exact = layer.gradients(at::linear(layer.x, layer.weight, layer.bias));
  // Sums of six products in another order.
  CHECK(at::allclose(coded[1], exact[1], 1e-5, 1e-9));
  CHECK(at::allclose(coded[2], exact[2], 1e-5, 1e-9));
  // Half a code of each factor: far from exact, and near.
  CHECK(largest(y.detach() - at::linear(layer.x, layer.weight, layer.bias).detach()) < 0.02);
  CHECK_FALSE(at::allclose(coded[0], exact[0], 1e-5, 1e-9));
}

TEST_CASE("switchback: scales from 1e-30 to 1e30, rows of zeros, numbers that are not finite") {
  for (const double size : {1e-30, 1e-10, 1e10, 1e30}) {
    const auto x = drawn({4, 6}, 5, size), weight = drawn({3, 6}, 6);
    check_near(switchback_linear(x, weight, {}), coded_product(x, weight.t()));
  }
  auto x = drawn({4, 6}, 7);
  x[1].zero_();
  x[2][0] = std::numeric_limits<float>::infinity();
  x[3][5] = std::numeric_limits<float>::quiet_NaN();
  const auto y = switchback_linear(x, drawn({3, 6}, 8), {});
  CHECK(at::isfinite(y[0]).all().item<bool>());
  CHECK(at::equal(y[1], at::zeros({3})));
  CHECK_FALSE(at::isfinite(y[2]).any().item<bool>());
  CHECK_FALSE(at::isfinite(y[3]).any().item<bool>());
}

TEST_CASE("switchback: a layer in bfloat16 of one row keeps dtype and shape") {
  const auto x = drawn({1, 1, 8}, 9).to(at::kBFloat16), weight = drawn({4, 8}, 10);
  const auto y = switchback_linear(x, weight.to(at::kBFloat16), {});
  CHECK(y.scalar_type() == at::kBFloat16);
  CHECK(y.sizes() == at::IntArrayRef({1, 1, 4}));
}

TEST_CASE("switchback: a model computes near the exact one, its curvature is the exact one's") {
  for (auto model : small_models()) {
    if (model.family == "mlp") continue;
    INFO(model.name);
    const auto exact_spec = model.spec();
    ParameterStore store(exact_spec->layout(), at::kCPU, at::kFloat);
    store.initialize(3);
    model.fields["linear"] = "switchback";
    const auto exact = exact_spec->build(store), coded = model.spec()->build(store);
    const auto batch = small_batch(model);
    ForwardContext context;
    const auto loss = exact->loss(batch, context), near = coded->loss(batch, context);
    CHECK(loss.item<double>() != near.item<double>());
    CHECK(near.item<double>() == Approx(loss.item<double>()).epsilon(1e-3));
    const ParameterSubset all(store.layout());
    const auto v = drawn({store.layout().size()}, 11);
    const auto of_exact = at::zeros_like(v), of_coded = at::zeros_like(v);
    Curvature(*exact, store, {batch}, ProductMethod::fresh_graph)
        .hessian_product(all, v, all, of_exact);
    Curvature(*coded, store, {batch}, ProductMethod::fresh_graph)
        .hessian_product(all, v, all, of_coded);
    CHECK(at::equal(of_exact, of_coded));
  }
}
