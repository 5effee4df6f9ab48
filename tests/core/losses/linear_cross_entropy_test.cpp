// Against LibTorch's own operations in float64.
#include "core/losses/linear_cross_entropy.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <functional>

#include "core/base/batch.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

struct HeadPass {
  at::Tensor loss, features, weight, bias;
};

HeadPass pass(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
              const std::function<at::Tensor(const at::Tensor&, const Linear&)>& loss_of) {
  const auto leaf = [](const at::Tensor& t) { return t.detach().clone().requires_grad_(true); };
  const auto features = leaf(x);
  const Linear head{leaf(weight), leaf(bias)};
  const auto loss = loss_of(features, head);
  const auto slopes =
      torch::autograd::grad({loss * 0.5}, {features, head.weight, head.bias}, {}, false, false);
  return {loss.detach(), slopes[0], slopes[1], slopes[2]};
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace

// Tolerances: a rounding of the type for each of the largest sums' terms, which are of size 1.
TEST_CASE("The linear cross-entropy has LibTorch's loss and gradients in every chunk and type") {
  at::manual_seed(1);
  const auto x = at::randn({23, 8}), weight = at::randn({41, 8}), bias = at::randn({41});
  auto targets = at::randint(41, {23}, at::kLong);
  targets.narrow(0, 3, 2).fill_(kIgnoredTarget);
  const auto expected =
      pass(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble),
           [&](const at::Tensor& f, const Linear& head) {
             return at::cross_entropy_loss(at::linear(f, head.weight, head.bias), targets, {},
                                           at::Reduction::Mean, kIgnoredTarget);
           });
  const std::vector<std::pair<at::ScalarType, double>> types = {
      {at::kDouble, 1e-13}, {at::kFloat, 1e-5}, {at::kBFloat16, 0.05}};
  for (const auto& [type, tolerance] : types) {
    for (const std::int64_t rows : {0, 1, 7, 23, 1000}) {
      INFO(c10::toString(type) << ", chunks of " << rows);
      ForwardContext context;
      context.loss_chunk_rows = rows;
      const auto found = pass(x.to(type), weight.to(type), bias.to(type),
                              [&](const at::Tensor& f, const Linear& head) {
                                return linear_cross_entropy(f, head, targets, context);
                              });
      CHECK(largest_difference(found.loss, expected.loss) < tolerance);
      CHECK(largest_difference(found.features, expected.features) < tolerance);
      CHECK(largest_difference(found.weight, expected.weight) < tolerance);
      CHECK(largest_difference(found.bias, expected.bias) < tolerance);
    }
  }
}
