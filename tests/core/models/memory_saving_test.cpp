// What saves memory does not change what is computed: checkpointed layers, chunked cross-entropy,
// key-value cache; mixed precision stays near float32.
#include <torch/csrc/autograd/autograd.h>

#include <ATen/core/grad_mode.h>

#include "core/autograd.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/losses/linear_cross_entropy.hpp"
#include "core/models/key_value_cache.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Pass {
  double loss;
  at::Tensor gradients;
};

// One forward and backward pass from the same parameters and dropout masks.
Pass run_pass(const ModelSpec& spec, const Batch& batch, ForwardContext context,
              at::ScalarType dtype = at::kFloat,
              const std::optional<MixedPrecision>& mixed = std::nullopt) {
  ParameterStore store(spec.layout(), at::kCPU, dtype, mixed);
  store.initialize(3);
  const auto model = spec.build(store);
  context.dropout = make_generator(5, RandomStream::dropout);
  const auto loss = model->loss(batch, context);
  backward(loss);
  store.check_gradient_views();
  return {loss.item<double>(), store.gradients().clone()};
}

Batch float_batch(const SmallModel& model) {
  auto batch = small_batch(model);
  if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(at::kFloat);
  return batch;
}

}  // namespace

TEST_CASE("Checkpointed layers give bit-equal losses and gradients, with dropout too") {
  for (auto small : small_models()) {
    for (const double dropout : {0.0, 0.3}) {
      if (small.family == "mlp" && dropout > 0.0) continue;
      if (small.family != "mlp") small.fields["dropout"] = dropout;
      INFO(small.name << " dropout " << dropout);
      const auto spec = small.spec();
      ForwardContext checkpointed;
      checkpointed.checkpoint_layers = true;
      const auto plain = run_pass(*spec, float_batch(small), {});
      const auto again = run_pass(*spec, float_batch(small), checkpointed);
      CHECK(plain.loss == again.loss);
      CHECK(at::equal(plain.gradients, again.gradients));
      CHECK(plain.gradients.abs().max().item<double>() > 0.0);
    }
  }
}

// In float64 two orders of summation differ by some 1e-15 relative to sums of size 1.
TEST_CASE("The chunked cross-entropy equals the whole one, whatever the chunk") {
  for (const auto& small : small_models()) {
    auto batch = small_batch(small);
    batch.targets.view({-1}).narrow(0, 1, 2).fill_(kIgnoredTarget);
    const auto spec = small.spec();
    const auto whole = run_pass(*spec, batch, {}, at::kDouble);
    for (const std::int64_t rows : {1, 3, 1000}) {
      INFO(small.name << " chunks of " << rows);
      ForwardContext chunked;
      chunked.loss_chunk_rows = rows;
      const auto found = run_pass(*spec, batch, chunked, at::kDouble);
      CHECK(std::abs(found.loss - whole.loss) < 1e-12);
      CHECK((found.gradients - whole.gradients).abs().max().item<double>() < 1e-12);
    }
  }
}

TEST_CASE(
    "A second derivative through what is once differentiable is an error, not a wrong number") {
  const auto x = at::randn({4, 3}).requires_grad_(true);
  const Linear head{at::randn({5, 3}).requires_grad_(true), {}};
  ForwardContext context;
  context.loss_chunk_rows = 2;
  const auto loss = linear_cross_entropy(x, head, at::randint(5, {4}, at::kLong), context);
  CHECK_THROWS_WITH(
      torch::autograd::grad({loss}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true),
      Contains("twice_differentiable"));
}

TEST_CASE("The key-value cache gives the logits of the whole sequence, token by token") {
  for (auto small : small_models()) {
    if (small.family == "mlp") continue;
    for (const std::int64_t window : {0, 2}) {
      if (small.family == "llama") small.fields["sliding_window"] = window;
      INFO(small.name << " window " << window);
      const auto spec = small.spec();
      ParameterStore store(spec->layout(), at::kCPU, at::kDouble);
      store.initialize(3);
      const auto model = spec->build(store);
      at::NoGradGuard no_grad;
      const auto tokens = small_batch(small).inputs;
      ForwardContext whole;
      const auto expected = model->logits(tokens, whole);
      KeyValueCache cache(2, tokens.size(1));
      ForwardContext context;
      context.cache = &cache;
      // Two tokens at once, then one by one, then two: every way a prompt may come.
      std::int64_t at = 0;
      for (const std::int64_t count : {2, 1, 2}) {
        const auto part = model->logits(tokens.narrow(1, at, count), context);
        CHECK(at::allclose(part, expected.narrow(1, at, count), 0.0, 1e-12));
        at += count;
      }
      CHECK(cache.length() == tokens.size(1));
    }
  }
}

// bfloat16 has 8 significant bits: a loss of size 2.4 is right to some 1e-2, gradients in direction
// to a few percent.
TEST_CASE("Mixed precision stays near float32, with float32 gradients and norms") {
  for (const auto& small : small_models()) {
    if (small.family == "mlp") continue;
    INFO(small.name);
    const auto spec = small.spec();
    const auto batch = float_batch(small);
    const auto exact = run_pass(*spec, batch, {});
    ForwardContext autocast;
    autocast.autocast = true;
    const auto cast = run_pass(*spec, batch, autocast);
    const auto mixed =
        run_pass(*spec, batch, {}, at::kFloat, MixedPrecision{{ParameterRole::norm}});
    for (const auto& pass : {cast, mixed}) {
      CHECK(pass.gradients.scalar_type() == at::kFloat);
      CHECK(std::abs(pass.loss - exact.loss) < 0.02);
      CHECK(pass.loss != exact.loss);
      const auto cosine = at::cosine_similarity(pass.gradients, exact.gradients, 0).item<double>();
      CHECK(cosine > 0.99);
    }
  }
}

TEST_CASE("A mixed-precision store keeps masters, copies and their bytes apart") {
  const auto spec = small_models()[0].spec();
  const auto layout = spec->layout();
  ParameterStore store(layout, at::kCPU, at::kFloat, MixedPrecision{{ParameterRole::norm}});
  store.initialize(1);
  std::int64_t kept = 0;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const bool norm = layout.parameters()[i].role == ParameterRole::norm;
    CHECK(store.tensors()[i].scalar_type() == (norm ? at::kFloat : at::kBFloat16));
    CHECK(at::equal(store.tensors()[i].detach(),
                    store.master(i).to(store.tensors()[i].scalar_type())));
    if (norm) kept += layout.parameters()[i].size();
  }
  CHECK(store.master_bytes() == 4 * (layout.size() - kept));
  CHECK(store.compute_bytes() == 2 * (layout.size() - kept) + 4 * kept);
}

TEST_CASE("Single tensors stay float32 by name, a name that is none is an error") {
  const auto layout = small_models()[1].spec()->layout();
  const MixedPrecision head_only{{}, {"lm_head.weight"}};
  const ParameterStore store(layout, at::kCPU, at::kFloat, head_only);
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    const bool kept = layout.parameters()[i].name == "lm_head.weight";
    CHECK(store.tensors()[i].scalar_type() == (kept ? at::kFloat : at::kBFloat16));
  }
  CHECK_THROWS_WITH(
      ParameterStore(layout, at::kCPU, at::kFloat, MixedPrecision{{}, {"lm_head.wieght"}}),
      Contains("lm_head.wieght"));
}
