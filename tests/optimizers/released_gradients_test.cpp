// Updates inside the backward pass: what they change is what a step on kept gradients changes.
#include <ATen/ATen.h>

#include <set>

#include "core/autograd.hpp"
#include "core/io/atomic_file.hpp"
#include "core/parameters/gradient_release.hpp"
#include "core/partition/partition_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Steps {
  at::Tensor parameters;
  std::vector<double> norms;
};

struct Passes {
  bool checkpointing = false;
  std::int64_t chunk = 0;
  bool mixed = false;
};

std::optional<MixedPrecision> mixed(const Passes& passes) {
  if (!passes.mixed) return std::nullopt;
  return MixedPrecision{{ParameterRole::norm}, {}};
}

at::Tensor loss_of(const Model& net, Batch batch, const Passes& passes) {
  ForwardContext context;
  context.checkpoint_layers = passes.checkpointing;
  context.loss_chunk_rows = passes.chunk;
  if (batch.inputs.scalar_type() == at::kDouble) batch.inputs = batch.inputs.to(at::kFloat);
  return net.loss(batch, context);
}

Steps kept(const SmallModel& model, const nlohmann::json& fields, const Passes& passes) {
  ParameterStore store(model.spec()->layout(), at::kCPU, at::kFloat, mixed(passes));
  store.initialize(1);
  const auto net = model.spec()->build(store);
  Optimizer optimizer(optimizer_config(fields), store);
  Steps steps;
  for (int i = 0; i < 3; ++i) {
    store.zero_gradients();
    backward(loss_of(*net, small_batch(model), passes));
    const auto report = optimizer.step(1e-2);
    steps.norms.insert(steps.norms.end(), {report.gradient_norm, report.update_norm});
  }
  steps.parameters = store.parameters().clone();
  return steps;
}

Steps released(const SmallModel& model, const nlohmann::json& fields, const Passes& passes) {
  ParameterStore store(model.spec()->layout(), at::kCPU, at::kFloat, mixed(passes),
                       Gradients::released);
  store.initialize(1);
  const auto net = model.spec()->build(store);
  Optimizer optimizer(optimizer_config(fields), store);
  Steps steps;
  for (int i = 0; i < 3; ++i) {
    double square = 0.0;
    if (optimizer.clipping().needs_norm()) {
      const GradientRelease release(store, [&](std::size_t, const at::Tensor& gradient) {
        square += optimizer.squared_norm(gradient);
      });
      backward(loss_of(*net, small_batch(model), passes));
    }
    optimizer.begin_step(1e-2, optimizer.clipping().scale(std::sqrt(square)));
    std::multiset<std::size_t> seen;
    {
      const GradientRelease release(store, [&](std::size_t parameter, const at::Tensor& gradient) {
        seen.insert(parameter);
        optimizer.update(parameter, gradient);
      });
      backward(loss_of(*net, small_batch(model), passes));
    }
    store.check_gradient_views();
    // Each tensor once, whatever ties and recomputation do.
    CHECK(seen.size() == store.tensors().size());
    CHECK(std::set(seen.begin(), seen.end()).size() == seen.size());
    const auto report = optimizer.end_step();
    steps.norms.insert(steps.norms.end(), {report.gradient_norm, report.update_norm});
  }
  steps.parameters = store.parameters().clone();
  return steps;
}

void check_same(const Steps& a, const Steps& b) {
  CHECK(at::equal(a.parameters, b.parameters));
  for (std::size_t i = 0; i < a.norms.size(); ++i) CHECK(a.norms[i] == Approx(b.norms[i]));
}

}  // namespace

TEST_CASE("released gradients: every rule steps as on kept ones, bit for bit") {
  const auto model = small_models()[0];
  for (const auto& rule : update_rules().names()) {
    INFO(rule);
    const nlohmann::json fields = {{"rule", rule}, {"weight_decay", 0.1}, {"gradient_clip", 0.0}};
    if (takes_curvature(rule)) {
      CHECK_THAT(input_error([&] { released(model, fields, {}); }),
                 Contains("optimizer.rule '" + rule + "' takes an estimate of the curvature"));
      continue;
    }
    check_same(kept(model, fields, {}), released(model, fields, {}));
  }
}

TEST_CASE("released gradients: every model, with checkpointing, chunks and mixed precision") {
  const nlohmann::json fields = {{"rule", "lomo"}, {"gradient_clip", 0.0}};
  for (const auto& model : small_models()) {
    INFO(model.name);
    for (const auto& passes : std::vector<Passes>{{}, {true, 0}, {false, 3}, {true, 3, true}}) {
      INFO(passes.checkpointing << " " << passes.chunk << " " << passes.mixed);
      check_same(kept(model, fields, passes), released(model, fields, passes));
    }
  }
}

TEST_CASE("released gradients: clipping by value, and by norm in two passes") {
  const auto model = small_models()[0];
  for (const std::string by : {"value", "norm"}) {
    const nlohmann::json fields = {{"rule", "adamw"}, {"clip_by", by}, {"gradient_clip", 1e-2}};
    const auto a = kept(model, fields, {}), b = released(model, fields, {});
    // The norm is summed tensor by tensor, so the factor may differ by a rounding of a double, and
    // weights of 1 by one of float32.
    const double rounding = by == "norm" ? 0x1p-23 : 0.0;
    CHECK((a.parameters - b.parameters).abs().max().item<double>() <= rounding);
    for (std::size_t i = 0; i < a.norms.size(); ++i) CHECK(a.norms[i] == Approx(b.norms[i]));
  }
}

TEST_CASE("released gradients: one that is not finite leaves its tensor and shows in the norm") {
  const auto layout = small_models()[0].spec()->layout();
  ParameterStore store(layout, at::kCPU, at::kFloat, std::nullopt, Gradients::released);
  fill_parameters(store);
  Optimizer optimizer(optimizer_config({{"rule", "lomo"}}), store);
  const auto before = store.parameters().clone();
  optimizer.begin_step(1e-2);
  optimizer.update(0, at::full(layout.parameters()[0].shape, std::nan("")));
  optimizer.update(1, at::ones(layout.parameters()[1].shape));
  const auto report = optimizer.end_step();
  CHECK(std::isnan(report.gradient_norm));
  const auto of = [&](const at::Tensor& x, std::size_t i) {
    return x.narrow(0, layout.parameters()[i].offset, layout.parameters()[i].size());
  };
  CHECK(at::equal(of(store.parameters(), 0), of(before, 0)));
  CHECK_FALSE(at::equal(of(store.parameters(), 1), of(before, 1)));
}

TEST_CASE("released gradients: a partition that shares values across tensors is refused") {
  const auto layout = small_models()[2].spec()->layout();
  auto tensors = make_partition(layout, "per_tensor").tensors();
  for (auto& tensor : tensors) {
    if (tensor.sections[0].rows > 1) tensor.sections[0].merged = 1;
  }
  const TemporaryFolder folder;
  const auto path = folder / "partition.yaml";
  const Partition merged(layout, "merged", std::move(tensors));
  write_file_atomically(path, partition_text(layout, {merged, {}, {}, {}}));
  ParameterStore store(layout, at::kCPU, at::kFloat, std::nullopt, Gradients::released);
  const auto config =
      optimizer_config({{"rule", "adam_mini"}, {"partition", {{"file", path.string()}}}});
  CHECK_THAT(input_error([&] { Optimizer(config, store); }),
             Contains("trainer.gradients is released") && Contains("several tensors at once"));
}
