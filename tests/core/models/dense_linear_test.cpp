// Linear layers of the training pass by oneDNN's products, against at::linear.
#include "core/models/dense_linear.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/base/dense_product.hpp"
#include "core/base/error.hpp"
#include "core/base/linear.hpp"
#include "core/memory/memory_meter.hpp"
#include "core/memory/meta_memory.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor randn(const std::vector<std::int64_t>& shape, std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::kFloat);
}

// Sums of n products of size 1 in another order: each of n additions rounds a sum of size sqrt(n),
// and the errors add up like sqrt(n).
double tolerance(std::int64_t terms) { return 4.0 * 6e-8 * double(terms); }

void check_close(const at::Tensor& found, const at::Tensor& expected, std::int64_t terms) {
  REQUIRE(found.sizes() == expected.sizes());
  CHECK((found - expected).abs().max().item<double>() < tolerance(terms));
}

}  // namespace

// Without it every layer would fall back unnoticed.
TEST_CASE("dense products: this LibTorch has them") { CHECK(has_dense_products()); }

TEST_CASE("dense products: those of at::linear, for every layout of the weight") {
  const auto x = randn({4, 64, 512}, 1), bias = randn({400}, 3);
  for (const auto& weight : {randn({400, 512}, 2), randn({512, 400}, 2).t(),
                             randn({400, 1024}, 2).narrow(1, 100, 512)}) {
    REQUIRE(is_dense_product(x, weight));
    check_close(dense_product(x, weight), at::linear(x, weight), 512);
    check_close(dense_product(x, weight, bias), at::linear(x, weight, bias), 512);
    // The same each time.
    CHECK(at::equal(dense_product(x, weight), dense_product(x, weight)));
    const auto strided = randn({512, 256}, 4).t();
    check_close(dense_product(strided, weight), at::linear(strided, weight), 512);
  }
}

TEST_CASE("dense products: only of enough float32 on the CPU") {
  const auto x = randn({256, 512}, 1), weight = randn({400, 512}, 2);
  CHECK(is_dense_product(x, weight));
  CHECK(!is_dense_product(x.narrow(0, 0, 8), weight));
  CHECK(!is_dense_product(x.to(at::kBFloat16), weight.to(at::kBFloat16)));
  CHECK(!is_dense_product(x.to(at::kDouble), weight.to(at::kDouble)));
  CHECK(at::equal(dense_product(x.narrow(0, 0, 8), weight), at::linear(x.narrow(0, 0, 8), weight)));
}

TEST_CASE("dense layers: values and gradients are at::linear's") {
  const auto x = randn({4, 64, 512}, 1).requires_grad_();
  const auto weight = randn({400, 512}, 2).requires_grad_(),
             bias = randn({400}, 3).requires_grad_();
  const auto slope = randn({4, 64, 400}, 5);
  const auto gradients = [&](const at::Tensor& y) {
    return torch::autograd::grad({y}, {x, weight, bias}, {slope});
  };
  const auto found = gradients(dense_linear(x, weight, bias));
  const auto expected = gradients(at::linear(x, weight, bias));
  check_close(found[0], expected[0], 400);
  check_close(found[1], expected[1], 256);
  check_close(found[2], expected[2], 256);
  const auto plain = torch::autograd::grad({dense_linear(x, weight, {})}, {weight}, {slope});
  CHECK(at::equal(plain[0], found[1]));
}

TEST_CASE("dense layers: of the training pass alone, which is not differentiated twice") {
  const Linear layer{randn({400, 512}, 2).requires_grad_(), {}};
  const auto x = randn({256, 512}, 1);
  ForwardContext twice, plain;
  twice.twice_differentiable = true;
  plain.cpu_kernels = false;
  CHECK(at::equal(layer(x, twice), at::linear(x, layer.weight)));
  CHECK(at::equal(layer(x, plain), at::linear(x, layer.weight)));
  CHECK(at::equal(layer(x, {}), dense_product(x, layer.weight)));
  const auto loss = layer(x, {}).square().sum();
  CHECK_THROWS_AS(torch::autograd::grad({loss}, {layer.weight}, {}, true, true), InvariantError);
}

TEST_CASE("dense layers: their memory is known in advance") {
  const auto peak_on = [](at::Device device, const auto& peak) {
    const auto x = at::ones({512, 768}, device).requires_grad_();
    const Linear layer{at::ones({1024, 768}, device).requires_grad_(), at::ones({1024}, device)};
    const auto y = layer(x, {});
    y.backward(at::ones_like(y));  // as what comes from another layer, with a stride
    return peak();
  };
  const auto planned = [&] {
    MetaMemory memory;
    return peak_on(at::kMeta, [&] { return memory.peak(); });
  }();
  MemoryMeter meter(at::kCPU);
  const auto measured = peak_on(at::kCPU, [&] { return meter.peak_allocated(); });
  CHECK(double(measured) == Approx(double(planned)).epsilon(0.01));
}
