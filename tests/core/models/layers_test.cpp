// What the layers promise: causality, grouped queries, rotary positions, dropout, the loss.
#include "core/models/layers.hpp"

#include <ATen/core/grad_mode.h>

#include "core/base/random_stream.hpp"
#include "core/models/rotary.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor randn(at::IntArrayRef sizes, std::uint64_t stream) {
  return at::randn(sizes, make_generator(1, RandomStream::probe, stream), at::kDouble);
}

// Weights of size 0.4, so that every position matters.
void fill(const ParameterStore& store) {
  at::NoGradGuard no_grad;
  store.parameters().copy_(randn({store.layout().size()}, 9) * 0.4);
}

}  // namespace

TEST_CASE("Future tokens do not change past logits") {
  for (const auto& model : small_models()) {
    if (model.family == "mlp") continue;
    INFO(model.name);
    ParameterStore store(model.spec()->layout(), at::kCPU, at::kDouble);
    fill(store);
    const auto net = model.spec()->build(store);
    ForwardContext context;
    const auto tokens = small_batch(model).inputs;
    const auto before = net->logits(tokens, context);
    for (std::int64_t t = 1; t < tokens.size(1); ++t) {
      auto changed = tokens.clone();
      changed.select(1, t).add_(1).remainder_(11);
      const auto difference = (net->logits(changed, context) - before).abs().amax(-1);
      CHECK(difference.narrow(1, 0, t).max().item<double>() < 1e-12);  // rounding
      CHECK(difference.select(1, t).min().item<double>() > 1e-3);
    }
  }
}

TEST_CASE("Grouped-query attention is multi-head attention with repeated key and value rows") {
  auto grouped = small_models()[4], full = small_models()[3];
  ParameterStore small(grouped.spec()->layout(), at::kCPU, at::kDouble);
  ParameterStore large(full.spec()->layout(), at::kCPU, at::kDouble);
  fill(small);
  {
    at::NoGradGuard no_grad;
    for (const auto& parameter : small.layout().parameters()) {
      auto values = small.tensor(parameter.name);
      if (parameter.role == ParameterRole::key || parameter.role == ParameterRole::value) {
        values = values.view({2, 1, 2, 8}).expand({2, 2, 2, 8}).reshape({8, 8});
      }
      large.tensor(parameter.name).copy_(values);
    }
  }
  ForwardContext context;
  const auto tokens = small_batch(full).inputs;
  CHECK(at::allclose(grouped.spec()->build(small)->logits(tokens, context),
                     full.spec()->build(large)->logits(tokens, context), 0.0, 1e-12));
}

TEST_CASE("The written-out attention of dropout is the fused one") {
  const auto q = randn({2, 4, 5, 6}, 1), k = randn({2, 2, 5, 6}, 2), v = randn({2, 2, 5, 6}, 3);
  ForwardContext with{make_generator(1, RandomStream::dropout)}, without;
  // A probability of 1e-15 drops nothing and scales by 1 + 1e-15.
  CHECK(at::allclose(causal_attention(q, k, v, {1e-15, 0}, with),
                     causal_attention(q, k, v, {}, without), 0.0, 1e-13));
}

TEST_CASE("Rotary positions keep norms, and scores depend on the distance alone") {
  const std::int64_t length = 12, dim = 8;
  const RotaryEmbedding rotary(dim, length, 100.0, {}, at::TensorOptions(at::kDouble));
  const auto q = randn({1, 1, 1, dim}, 4).expand({1, 1, length, dim});
  const auto k = randn({1, 1, 1, dim}, 5).expand({1, 1, length, dim});
  const auto table = rotary.table(0, length);
  const auto rotated = rotate(q, table, {});
  CHECK(at::allclose(rotated.norm(2, -1), q.norm(2, -1), 1e-14, 0.0));
  CHECK(at::equal(rotated.select(2, 0), q.select(2, 0)));
  const auto scores = at::matmul(rotated, rotate(k, table, {}).transpose(-2, -1))[0][0];
  for (std::int64_t distance = -3; distance <= 3; ++distance) {
    const auto diagonal = scores.diagonal(distance);
    CHECK((diagonal - diagonal[0]).abs().max().item<double>() < 1e-13);
  }
  CHECK(std::abs((scores[0][1] - scores[0][2]).item<double>()) > 1e-3);
}

TEST_CASE("Dropout keeps the expectation and is off in evaluation") {
  const auto x = at::ones({40000}, at::kDouble);
  ForwardContext evaluation, training{make_generator(3, RandomStream::dropout)};
  CHECK(at::equal(dropout(x, 0.4, evaluation), x));
  CHECK(at::equal(dropout(x, 0.0, training), x));
  const auto dropped = dropout(x, 0.4, training);
  const auto kept = dropped.gt(0.0);
  CHECK(at::allclose(dropped.masked_select(kept), at::full({1}, 1.0 / 0.6, at::kDouble)));
  // The mean has deviation sqrt(0.4 / 0.6 / 40000) = 0.004.
  CHECK(std::abs(dropped.mean().item<double>() - 1.0) < 4 * 0.0041);
}

TEST_CASE("The dropout of a step is a function of its generator's seed") {
  auto model = small_models()[4];
  model.fields["dropout"] = 0.5;
  ParameterStore store(model.spec()->layout(), at::kCPU);
  store.initialize(1);
  const auto net = model.spec()->build(store);
  const auto loss = [&](std::uint64_t step) {
    ForwardContext context{make_generator(1, RandomStream::dropout, step)};
    return net->loss(small_batch(model), context).item<double>();
  };
  const auto evaluate = [&] {
    ForwardContext context;
    return net->loss(small_batch(model), context).item<double>();
  };
  CHECK(loss(3) == loss(3));
  CHECK(loss(3) != loss(4));
  CHECK(evaluate() == evaluate());
  CHECK(evaluate() != loss(3));
}

TEST_CASE("Equal logits give log(vocabulary), and ignored targets do not count") {
  const auto model = small_models()[0];
  ParameterStore store(model.spec()->layout(), at::kCPU, at::kDouble);
  const auto net = model.spec()->build(store);
  ForwardContext context;
  auto batch = small_batch(model);
  CHECK(net->loss(batch, context).item<double>() == Approx(std::log(11.0)).epsilon(1e-14));

  fill(store);
  auto first = batch;
  first.inputs = batch.inputs.narrow(1, 0, 2);
  first.targets = batch.targets.narrow(1, 0, 2);
  batch.targets = batch.targets.clone();
  batch.targets.narrow(1, 2, 3).fill_(kIgnoredTarget);
  CHECK(net->loss(batch, context).item<double>() ==
        Approx(net->loss(first, context).item<double>()).epsilon(1e-13));
}

TEST_CASE("A sequence above the context is refused") {
  for (const std::size_t i : {0, 3}) {
    const auto model = small_models()[i];
    ParameterStore store(model.spec()->layout(), at::kCPU);
    const auto net = model.spec()->build(store);
    ForwardContext context;
    CHECK_THAT(input_error([&] {
                 net->logits(at::zeros({1, 7}, at::kLong), context);
               }),
               Contains("a sequence of 7 tokens, block_size is 6"));
  }
}
