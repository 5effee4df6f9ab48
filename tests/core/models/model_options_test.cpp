// Every option of every model family through the meta device, where plans and rehearsals run, and
// through finite differences.
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/autograd.hpp"
#include "core/base/random_stream.hpp"
#include "core/memory/meta_memory.hpp"
#include "core/models/layers.hpp"
#include "core/models/rotary.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/model_options.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Way {
  std::string name;
  ForwardContext context;
  std::optional<MixedPrecision> mixed;
};

std::vector<Way> ways() {
  std::vector<Way> all(6);
  all[0].name = "plain";
  all[1].name = "checkpointed";
  all[1].context.checkpoint_layers = true;
  all[2].name = "chunked";
  all[2].context.loss_chunk_rows = 3;
  all[3].name = "autocast";
  all[3].context.autocast = true;
  all[4].name = "bfloat16";
  all[4].mixed = MixedPrecision{{ParameterRole::norm}};
  all[5].name = "twice differentiable";
  all[5].context.twice_differentiable = true;
  return all;
}

Batch on_meta(const SmallModel& model) {
  const auto batch = small_batch(model);
  const auto move = [](const at::Tensor& x) {
    const auto dtype = x.is_floating_point() ? at::kFloat : x.scalar_type();
    return at::empty(x.sizes(), at::TensorOptions().dtype(dtype).device(at::kMeta));
  };
  return {move(batch.inputs), move(batch.targets)};
}

// Forward, backward and, where the way allows it, backward again.
void pass(const SmallModel& small, Way way) {
  const auto spec = small.spec();
  ParameterStore store(spec->layout(), at::kMeta, at::kFloat, way.mixed);
  const auto model = spec->build(store);
  if (!way.context.twice_differentiable) {
    way.context.dropout = make_generator(1, RandomStream::dropout);
    backward(model->loss(on_meta(small), way.context));
    at::NoGradGuard no_grad;
    ForwardContext evaluation;
    model->loss(on_meta(small), evaluation);
    return;
  }
  const auto loss = model->loss(on_meta(small), way.context);
  const auto first = torch::autograd::grad({loss}, store.tensors(), {}, true, true);
  std::vector<at::Tensor> slopes;
  for (const auto& g : first) slopes.push_back(at::empty_like(g));
  const auto second = torch::autograd::grad(first, store.tensors(), slopes, {}, false, true);
  CHECK(second.size() == store.tensors().size());
}

}  // namespace

TEST_CASE("Every option of every family runs on the meta device, every way") {
  const MetaMemory memory;
  const auto models = models_with_every_option();
  CHECK(models.size() > 20);
  for (const auto& model : models) {
    for (const auto& way : ways()) {
      INFO(model.name << ", " << way.name);
      CHECK_NOTHROW(pass(model, way));
    }
  }
}

// Third derivatives and rounding as in model_gradient_test.cpp.
TEST_CASE("Gradients with every option agree with finite differences") {
  for (const auto& small : models_with_every_option()) {
    INFO(small.name);
    if (small.fields.contains("linear")) continue;  // made of steps, which have no slope
    ParameterStore store(small.spec()->layout(), at::kCPU, at::kDouble);
    at::NoGradGuard no_grad;
    auto generator = make_generator(20250601, RandomStream::init);
    store.parameters().normal_(0.0, 0.4, generator);
    const auto model = small.spec()->build(store);
    const auto loss = [&] {
      ForwardContext context{make_generator(3, RandomStream::dropout)};
      return model->loss(small_batch(small), context);
    };
    {
      const at::AutoGradMode with_graph(true);
      backward(loss());
    }
    auto direction = at::randn({store.layout().size()}, generator, at::kDouble);
    direction /= direction.norm();
    constexpr double kStep = 1e-5;
    const auto at_offset = [&](double h) {
      store.parameters().add_(direction, h);
      const double value = loss().item<double>();
      store.parameters().sub_(direction, h);
      return value;
    };
    const double slope = (at_offset(kStep) - at_offset(-kStep)) / (2.0 * kStep);
    CHECK(std::abs(at::dot(store.gradients(), direction).item<double>() - slope) < 1e-8);
  }
}

TEST_CASE("The exact GELU's written-out derivatives are LibTorch's") {
  auto generator = make_generator(1, RandomStream::probe);
  const auto x = at::randn({200}, generator, at::kDouble).mul_(3.0).requires_grad_(true);
  const auto slope = at::randn({200}, generator, at::kDouble);
  const auto derivatives = [&](bool twice) {
    ForwardContext context;
    context.twice_differentiable = twice;
    const auto y = gelu(x, context);
    const auto first = torch::autograd::grad({y}, {x}, {slope}, true, true)[0];
    const auto second = torch::autograd::grad({first.sum()}, {x})[0];
    return std::vector<at::Tensor>{y.detach(), first.detach(), second};
  };
  const auto ours = derivatives(true), theirs = derivatives(false);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK((ours[i] - theirs[i]).abs().max().item<double>() < 1e-14);  // rounding of numbers near 1
  }
}

// A pass of L positions beyond the trained N turns as a model with the base
// theta (s L / N - s + 1)^(D / (D - 2)); up to N as one without scaling.
TEST_CASE("Dynamic rotary positions are those of the stretched base") {
  const std::int64_t dim = 8, trained = 6;
  RotaryScaling scaling;
  scaling.kind = "dynamic";
  scaling.factor = 3.0;
  scaling.original_positions = trained;
  const auto options = at::TensorOptions(at::kDouble);
  const RotaryEmbedding dynamic(dim, 20, 100.0, scaling, options);
  const RotaryEmbedding plain(dim, 20, 100.0, {}, options);
  CHECK(at::equal(dynamic.table(2, 4).cosine, plain.table(2, 4).cosine));
  const RotaryEmbedding stretched(dim, 20, 100.0 * std::pow(3.0 * 9.0 / 6.0 - 2.0, 8.0 / 6.0), {},
                                  options);
  for (const std::int64_t first : {0, 8}) {
    CHECK(at::allclose(dynamic.table(first, 9 - first).sine, stretched.table(first, 9 - first).sine,
                       0.0, 1e-14));
  }
}
