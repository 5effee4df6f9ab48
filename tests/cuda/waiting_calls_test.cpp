// What a training step asks of LibTorch for which the host waits for the device: the list of what
// is permitted, so that none comes back unseen. Everything runs on the CPU, as it would elsewhere.
#include "tests/support/waiting_calls.hpp"

#include "core/autograd.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/resolved_run.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using Counts = std::map<std::string, int>;

namespace {

const std::string kRead = "aten::_local_scalar_dense";

Counts calls_of_pass(const SmallModel& small, ForwardContext context) {
  const auto spec = small.spec();
  ParameterStore store(spec->layout(), at::kCPU, at::kDouble);
  fill_parameters(store);
  const auto model = spec->build(store);
  context.cpu_kernels = false;
  WaitingCalls calls;
  backward(model->loss(small_batch(small), context));
  CHECK(calls.operations() > 10);
  return calls.counts();
}

// Calls of the fourth step, by tensor operations, as on a device without kernels.
Counts calls_of_step(const nlohmann::json& fields) {
  ParameterStore store(small_models()[4].spec()->layout(), at::kCPU);
  fill_parameters(store);
  Optimizer optimizer(optimizer_config(fields), store);
  optimizer.use_tensor_operations();
  WaitingCalls calls;
  for (int draw = 0; draw < 4; ++draw) {
    fill_gradients(store, draw);
    calls.restart();
    optimizer.step(1e-2);
  }
  CHECK(calls.operations() > 10);
  return calls.counts();
}

// The most of all steps but the first two, which make buffers.
Counts calls_of_training(std::int64_t micro_batches) {
  const SmallRunFolder small(6);
  auto yaml = YamlDocument::load(small.config);
  yaml.set("output=" + (small.folder / "out").string());
  yaml.set("trainer.evaluate_every=0");
  yaml.set("trainer.checkpoint_every=0");
  auto config = yaml.run_config();
  const auto tokens =
      config.trainer.micro_batch_size * resolve(config).data->shape().sequence_length;
  config.trainer.global_batch_tokens = micro_batches * tokens;
  WaitingCalls calls;
  Counts most;
  const auto follow = [&](const StepRecord& row) {
    if (row.step > 2) {
      for (const auto& [name, count] : calls.counts()) most[name] = std::max(most[name], count);
    }
    calls.restart();
  };
  train(resolve(config), {.step = follow});
  return most;
}

}  // namespace

TEST_CASE("waiting calls: those that are there are counted") {
  WaitingCalls calls;
  const auto x = at::ones({3});
  x.sum().item<double>();
  x.nonzero();
  CHECK(calls.counts() == Counts{{kRead, 1}, {"aten::nonzero", 1}});
}

// But for the scale of the loss's slope, which is read where it lies on the CPU alone.
TEST_CASE("waiting calls: forward and backward passes make none") {
  const Counts scale = {{kRead, 1}};
  for (const auto& small : small_models()) {
    INFO(small.name);
    CHECK(calls_of_pass(small, {}) == scale);
    ForwardContext chunked;
    chunked.loss_chunk_rows = 2;
    CHECK(calls_of_pass(small, chunked) == scale);
    ForwardContext checkpointed;
    checkpointed.checkpoint_layers = true;
    CHECK(calls_of_pass(small, checkpointed) == scale);
  }
}

// The gradient's norm, by which the step is scaled or left out. The sizes of the updates come as
// one copy, which is none here. Other rules read more, of the model's 14 matrices or of some.
TEST_CASE("waiting calls: a step reads the norm, and the sizes of the updates at once") {
  const auto reads = [](int count) { return Counts{{kRead, count}}; };
  const std::map<std::string, Counts> more = {
      // Whether a basis has been set, of each.
      {"galore", reads(15)},
      {"fira", reads(15)},
      {"ldadam", reads(15)},
      {"dion", reads(15)},
      {"soap", reads(29)},
      // Its roots.
      {"shampoo", {{kRead, 29}, {"aten::_linalg_check_errors", 28}, {"aten::_linalg_eigh", 28}}},
      {"ada_pm", reads(11)}};
  for (const auto& entry : update_rules()) {
    if (takes_curvature(entry.name)) continue;
    const auto calls = calls_of_step({{"rule", entry.name}});
    INFO(entry.name);
    for (const auto& [name, count] : calls) UNSCOPED_INFO(name << " " << count);
    const auto known = more.find(entry.name);
    CHECK(calls == (known == more.end() ? Counts{{kRead, 1}} : known->second));
  }
}

// The loss is read once a step, as a copy; what is left are the CPU's own kernel of the loss, which
// reads the number of targets and the scale of the backward pass where they are.
TEST_CASE("waiting calls: training reads nothing of its own for a micro-batch") {
  CHECK(calls_of_training(1) == Counts{{kRead, 2}});
  CHECK(calls_of_training(4) == Counts{{kRead, 8}});
}
