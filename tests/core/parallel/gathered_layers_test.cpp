// Layers that are collected from their owners as they are used, against the same model whole.
#include "core/parallel/gathered_layers.hpp"

#include <ATen/core/grad_mode.h>

#include "core/autograd.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/parameters/gradient_release.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/rank_processes.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::uint64_t kSeed = 3;

struct Pass {
  double loss = 0.0;
  std::vector<at::Tensor> gradients;
  double evaluated = 0.0;  // without a graph
};

// Forward and backward, and a pass without a graph; `end` is called behind each.
Pass run_passes(const ModelSpec& spec, ParameterStore& store, const Batch& batch,
                ForwardContext context, const std::function<void()>& end) {
  const auto model = spec.build(store);
  Pass pass;
  pass.gradients.resize(store.tensors().size());
  {
    const GradientRelease release(
        store, [&](std::size_t i, const at::Tensor& g) { pass.gradients[i] = g.clone(); });
    context.dropout = make_generator(5, RandomStream::dropout);
    const auto loss = model->loss(batch, context);
    backward(loss);
    pass.loss = loss.item<double>();
  }
  end();
  const at::NoGradGuard no_grad;
  context.dropout.reset();
  pass.evaluated = model->loss(batch, context).item<double>();
  end();
  return pass;
}

void demand(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

void demand_equal(const Pass& x, const Pass& y) {
  demand(x.loss == y.loss, "another loss");
  demand(x.evaluated == y.evaluated, "another loss without a graph");
  for (std::size_t i = 0; i < x.gradients.size(); ++i) {
    demand(at::equal(x.gradients[i], y.gradients[i]), "another gradient");
  }
}

std::int64_t layers_there(const ParameterStore& store) {
  std::int64_t count = 0;
  for (std::int64_t layer = 0; layer < store.layers_on_demand(); ++layer) {
    const auto& buffer = store.weight_buffers()[store.buffer_of_layer(std::size_t(layer))];
    count += buffer.tensors().front().storage().data() != nullptr ? 1 : 0;
  }
  return count;
}

// Counts what is there before each layer.
class Counting : public LayerWeights {
 public:
  Counting(GatheredLayers& layers, const ParameterStore& store) : layers_(layers), store_(store) {}
  void enter_forward(std::size_t layer) override {
    layers_.enter_forward(layer);
    count();
  }
  void leave_forward(std::size_t layer) override { layers_.leave_forward(layer); }
  void enter_backward(std::size_t layer) override {
    layers_.enter_backward(layer);
    count();
  }
  std::int64_t most() const { return most_; }

 private:
  void count() { most_ = std::max(most_, layers_there(store_)); }
  GatheredLayers& layers_;
  const ParameterStore& store_;
  std::int64_t most_ = 0;
};

Batch float_batch(const SmallModel& model) {
  auto batch = small_batch(model);
  if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(at::kFloat);
  return batch;
}

void check_gathered(const SmallModel& small, const std::optional<MixedPrecision>& mixed,
                    bool checkpoint) {
  INFO(small.name << (mixed ? " bfloat16" : " float32") << (checkpoint ? " checkpointed" : ""));
  const auto spec = small.spec();
  ForwardContext context;
  context.checkpoint_layers = checkpoint;
  const auto results = on_ranks(3, [&](const Ranks& ranks, const auto&) {
    const auto layout = spec->layout();
    ParameterStore whole(layout, at::kCPU, at::kFloat, mixed, Gradients::released);
    whole.initialize(kSeed);
    const auto expected = run_passes(*spec, whole, float_batch(small), context, [] {});

    const auto count = spec->separate_layers();
    const auto owners = even_owners(layout, count, ranks.size());
    ParameterStore store(layout, at::kCPU, at::kFloat, mixed, Gradients::released,
                         OwnMasters{owners.own(ranks.rank()), count});
    store.initialize(kSeed);
    demand(layers_there(store) == 0, "a layer is there at first");
    GatheredLayers layers(store, ranks, owners);
    Counting counting(layers, store);
    auto gathered = context;
    gathered.layer_weights = &counting;
    demand_equal(expected, run_passes(*spec, store, float_batch(small), gathered, [&] {
                   layers.end_pass();
                   demand(layers_there(store) == 0, "a layer is left");
                 }));
    demand(counting.most() == std::min<std::int64_t>(2, count), "not two layers at a time");
  });
  for (const auto& result : results) {
    INFO(result.text);
    CHECK(result.exit_code == 0);
  }
}

}  // namespace

TEST_CASE("gathered layers: losses and gradients are those of a whole model, to the bit",
          "[parallel]") {
  for (auto small : small_models()) {
    if (small.family != "mlp") {
      small.fields["n_layer"] = 4;
      small.fields["dropout"] = 0.2;
    }
    for (const bool checkpoint : {false, true}) {
      check_gathered(small, std::nullopt, checkpoint);
      check_gathered(small, MixedPrecision{{ParameterRole::norm}}, checkpoint);
    }
  }
}

TEST_CASE("gathered layers: what a rank owns, within units and among its own elements") {
  const Owners owners({{0, 4, 10}, {10, 10, 13}});
  CHECK(owners.own(0)[0].size() == 4);
  CHECK(owners.own(0)[1].size() == 0);
  CHECK(owners.own(1)[1].begin == 10);
  CHECK(owners.place(0, 3) == 3);
  CHECK(owners.place(1, 4) == 0);
  CHECK(owners.place(1, 11) == 7);
  CHECK(owners.within(2, 6) == Shares{0, 2, 4});
  CHECK(owners.within(11, 13) == Shares{0, 0, 2});
  CHECK_THROWS_AS(owners.within(9, 11), InvariantError);
  CHECK(Owners().empty());
}

TEST_CASE("gathered layers: units are what is outside, and every layer") {
  const auto layout = small_models()[0].spec()->layout();  // two layers of a GPT-2
  const auto units = weight_units(layout, 2);
  REQUIRE(units.size() == 4);
  CHECK(units[0].layer == -1);
  CHECK(units[1].layer == 0);
  CHECK(units[2].layer == 1);
  CHECK(units[3].layer == -1);
  CHECK(units[3].elements.end == layout.size());
  for (std::size_t k = 1; k < units.size(); ++k) {
    CHECK(units[k].first == units[k - 1].last);
    CHECK(units[k].elements.begin == units[k - 1].elements.end);
  }
  const auto whole = weight_units(layout, 0);
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].last == layout.parameters().size());
  CHECK_THROWS_AS(weight_units(layout, 3), InvariantError);  // it has no third one
}
