// The layers that have kernels of their own, with their gradients, against LibTorch's operations in
// float64.
#include <torch/csrc/autograd/autograd.h>

#include <ATen/Parallel.h>

#include <functional>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/models/layers.hpp"
#include "core/models/rotary.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

using Layer =
    std::function<at::Tensor(const std::vector<at::Tensor>& inputs, const ForwardContext&)>;

struct Case {
  std::string name;
  std::vector<std::vector<std::int64_t>> shapes;  // of the inputs
  Layer layer;
};

// Cosines and sines of positions 0 to T - 1, in the type of x.
RotaryTable table_for(const at::Tensor& x) {
  return RotaryEmbedding(x.size(3), x.size(2), 100.0, {}, x.detach().options()).table(0, x.size(2));
}

std::vector<Case> cases() {
  return {{"gelu_tanh", {{3, 37}}, [](auto& in, auto& c) { return gelu_tanh(in[0], c); }},
          {"swiglu", {{3, 37}, {3, 37}}, [](auto& in, auto& c) { return swiglu(in[0], in[1], c); }},
          {"rms_norm",
           {{2, 71, 19}, {19}},
           [](auto& in, auto& c) {
             return RmsNorm{in[1], 1e-5}(in[0], c);
           }},
          {"rotary of heads that lie between others",
           {{2, 5, 3, 12}},
           [](auto& in, auto& c) {
             const auto x = in[0].transpose(1, 2);
             return rotate(x, table_for(x), c);
           }},
          {"rotary of rows that are not whole", {{2, 3, 12, 5}}, [](auto& in, auto& c) {
             const auto x = in[0].transpose(2, 3);
             return rotate(x, table_for(x), c);
           }}};
}

struct LayerPass {
  at::Tensor output;
  std::vector<at::Tensor> gradients;
};

// Inputs, and what the output is multiplied with, are numbers of bfloat16 in every type.
LayerPass pass(const Case& c, at::ScalarType type, const ForwardContext& context) {
  at::manual_seed(3);
  std::vector<at::Tensor> inputs;
  for (const auto& shape : c.shapes) {
    const auto x = at::randn(shape).to(at::kBFloat16);
    inputs.push_back(x.to(type).requires_grad_(true));
  }
  const auto output = c.layer(inputs, context);
  const auto along = at::randn(output.sizes()).to(at::kBFloat16).to(type);
  return {output.detach(),
          torch::autograd::grad({(output * along).sum()}, inputs, {}, std::nullopt, false)};
}

double relative(const at::Tensor& found, const at::Tensor& wanted) {
  const auto difference = (found.to(at::kDouble) - wanted.to(at::kDouble)).abs().max();
  return difference.item<double>() / wanted.abs().max().item<double>();
}

}  // namespace

// Float32: some roundings of sums of 150 terms. Bfloat16: one rounding of each result, of 2^-8, and
// of the angles' cosines.
TEST_CASE("Layers with kernels of their own equal LibTorch's in float64, gradients too") {
  for (const auto& c : cases()) {
    ForwardContext twice;
    twice.twice_differentiable = true;
    const auto expected = pass(c, at::kDouble, {});
    CHECK(relative(pass(c, at::kDouble, twice).output, expected.output) < 1e-12);
    for (const auto& [type, tolerance] :
         {std::pair(at::kFloat, 2e-6), std::pair(at::kBFloat16, 8e-3)}) {
      INFO(c.name << " in " << c10::toString(type));
      const auto found = pass(c, type, {});
      CHECK(found.output.scalar_type() == type);
      CHECK(relative(found.output, expected.output) < tolerance);
      for (std::size_t i = 0; i < found.gradients.size(); ++i) {
        CHECK(found.gradients[i].scalar_type() == type);
        CHECK(relative(found.gradients[i], expected.gradients[i]) < tolerance);
      }
    }
  }
}

TEST_CASE("Layers with kernels of their own are the same to the bit on one thread and on two") {
  const auto threads = at::get_num_threads();
  const Case wide{"rms_norm of many rows", {{4, 333, 96}, {96}}, [](auto& in, auto& c) {
                    return RmsNorm{in[1], 1e-5}(in[0], c);
                  }};
  auto all = cases();
  all.push_back(wide);
  for (const auto& c : all) {
    INFO(c.name);
    at::set_num_threads(1);
    const auto one = pass(c, at::kFloat, {});
    at::set_num_threads(2);
    const auto two = pass(c, at::kFloat, {});
    CHECK(at::equal(one.output, two.output));
    for (std::size_t i = 0; i < one.gradients.size(); ++i) {
      CHECK(at::equal(one.gradients[i], two.gradients[i]));
    }
  }
  at::set_num_threads(threads);
}

TEST_CASE("Layers with kernels of their own refuse a second derivative") {
  for (const auto& c : cases()) {
    INFO(c.name);
    std::vector<at::Tensor> inputs;
    for (const auto& shape : c.shapes) inputs.push_back(at::randn(shape).requires_grad_(true));
    const auto sum = c.layer(inputs, {}).square().sum();
    CHECK_THROWS_AS(torch::autograd::grad({sum}, inputs, {}, /*retain_graph=*/true,
                                          /*create_graph=*/true),
                    InvariantError);
  }
}
