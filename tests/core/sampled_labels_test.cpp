#include "core/sampled_labels.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "core/base/random_stream.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// An MLP without hidden layer: logits are W x + b.
struct Softmax {
  std::unique_ptr<ModelSpec> spec;
  ParameterStore store;
  std::unique_ptr<Model> model;
  Softmax()
      : spec(model_spec("mlp",
                        {{"inputs", 2}, {"hidden", nlohmann::json::array()}, {"classes", 4}})),
        store(spec->layout(), at::kCPU),
        model(spec->build(store)) {
    at::NoGradGuard no_grad;
    store.parameters().copy_(at::arange(store.layout().size(), at::kFloat) * 0.3 - 1.0);
  }
  at::Tensor draw(const Batch& batch, std::uint64_t number, std::int64_t chunk = 0) const {
    ForwardContext context;
    context.loss_chunk_rows = chunk;
    return sampled_labels(*model, batch, context,
                          make_generator(1, RandomStream::sampling, number));
  }
};

}  // namespace

TEST_CASE("sampled labels: as often as the model says") {
  const Softmax softmax;
  constexpr std::int64_t kDraws = 20'000;
  const Batch batch{at::tensor({0.5, -1.0}).to(at::kFloat).expand({kDraws, 2}),
                    at::zeros({kDraws}, at::kLong)};
  const auto labels = softmax.draw(batch, 0);
  CHECK(labels.sizes() == batch.targets.sizes());
  ForwardContext context;
  const auto p = at::softmax(softmax.model->logits(batch.inputs.narrow(0, 0, 1), context), 1)[0];
  for (std::int64_t k = 0; k < 4; ++k) {
    const double expected = p[k].item<double>();
    const double share = labels.eq(k).sum().item<double>() / double(kDraws);
    // Five standard errors of a share.
    CHECK(std::abs(share - expected) < 5.0 * std::sqrt(expected * (1.0 - expected) / kDraws));
  }
}

TEST_CASE("sampled labels: a function of the generator, whatever the chunks, without a graph") {
  const Softmax softmax;
  Batch batch{at::ones({700, 2}), at::zeros({700}, at::kLong)};
  const auto labels = softmax.draw(batch, 0);
  CHECK(at::equal(labels, softmax.draw(batch, 0)));
  CHECK(at::equal(labels, softmax.draw(batch, 0, 3)));
  CHECK_FALSE(at::equal(labels, softmax.draw(batch, 1)));
  CHECK_FALSE(labels.requires_grad());
  batch.targets.narrow(0, 10, 5).fill_(kIgnoredTarget);
  const auto some = softmax.draw(batch, 0);
  CHECK(at::equal(some.eq(kIgnoredTarget), batch.targets.eq(kIgnoredTarget)));
  CHECK(at::equal(some.narrow(0, 15, 685), labels.narrow(0, 15, 685)));
}

TEST_CASE("sampled labels: every model of labels has them, a function of its weights has none") {
  for (const auto& small : small_models()) {
    INFO(small.name);
    const auto spec = small.spec();
    ParameterStore store(spec->layout(), at::kCPU);
    store.initialize(1);
    const auto model = spec->build(store);
    CHECK(has_labels(*model) == (spec->family() != "quadratic"));
    if (!has_labels(*model)) continue;
    auto batch = small_batch(small);
    if (spec->context_length() == 0) batch.inputs = batch.inputs.to(at::kFloat);
    ForwardContext context;
    const auto labels =
        sampled_labels(*model, batch, context, make_generator(1, RandomStream::sampling));
    batch.targets = labels;
    CHECK(std::isfinite(model->loss(batch, context).item<double>()));
  }
  const auto spec = model_spec("quadratic", {});
  ParameterStore store(spec->layout(), at::kCPU);
  CHECK_FALSE(has_labels(*spec->build(store)));
}
