// Passes that are recorded: on the CPU with a stand-in for CUDA graphs, which does nothing while it
// records and does the work again when it replays, and by what is asked of LibTorch in each.
#include "experiments/training/recorded_pass.hpp"

#include <ATen/ATen.h>

#include "core/autograd.hpp"
#include "core/base/random_stream.hpp"
#include "core/model.hpp"
#include "experiments/config/config_yaml.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/operation_log.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// What work changes while it is recorded is undone: a real recording does nothing.
struct Changed {
  static at::Tensor& gradients() {
    static at::Tensor all;
    return all;
  }
  static int& recordings() {
    static int count = 0;
    return count;
  }
};

class StandIn : public DeviceGraph {
 public:
  void record(const std::function<void()>& work) override {
    const auto before = Changed::gradients().clone();
    work();
    Changed::gradients().copy_(before);
    work_ = work;
    ++Changed::recordings();
  }
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

std::unique_ptr<DeviceGraph> make_stand_in() { return std::make_unique<StandIn>(); }

Batch other_batch(const SmallModel& small, std::uint64_t draw) {
  auto generator = make_generator(3, RandomStream::dropout, draw);
  auto batch = small_batch(small);
  batch.inputs.copy_(at::randint(11, {2, 5}, generator, at::kLong));
  batch.targets.copy_(at::randint(11, {2, 5}, generator, at::kLong));
  return batch;
}

std::vector<std::string> operations_of(const SmallModel& small, ForwardContext context,
                                       std::uint64_t draw) {
  const auto spec = small.spec();
  ParameterStore store(spec->layout(), at::kCPU, at::kFloat);
  fill_parameters(store);
  const auto model = spec->build(store);
  context.cpu_kernels = false;
  context.dropout = make_generator(7, RandomStream::dropout, draw);
  const auto batch = other_batch(small, draw);
  OperationLog log;
  backward(model->loss(batch, context) / 4.0);
  return log.lines();
}

}  // namespace

TEST_CASE("recorded pass: losses and gradients are those of the pass, for other batches, too") {
  const auto small = small_models()[0];
  const auto spec = small.spec();
  ParameterStore store(spec->layout(), at::kCPU, at::kFloat);
  fill_parameters(store);
  const auto model = spec->build(store);
  const auto pass = [&](const Batch& batch) {
    ForwardContext context;
    const auto loss = model->loss(batch, context);
    backward(loss);
    return loss.detach();
  };
  store.zero_gradients();
  Changed::gradients() = store.gradients();
  Changed::recordings() = 0;
  RecordedPass recorded(make_stand_in);
  std::vector<at::Tensor> kept, expected_losses;
  const auto sum = at::zeros_like(store.gradients());
  for (std::uint64_t draw = 0; draw < 7; ++draw) {
    CHECK(Changed::recordings() == (draw > RecordedPass::kPassesBefore ? 1 : 0));
    const auto batch = other_batch(small, draw);
    store.zero_gradients();
    expected_losses.push_back(pass(batch));
    const auto expected = store.gradients().clone();
    store.zero_gradients();
    auto given = Batch{batch.inputs.clone(), batch.targets.clone()};
    kept.push_back(recorded.run(given, pass));
    CHECK(at::equal(store.gradients(), expected));
    given.inputs.zero_();  // the caller's again
  }
  REQUIRE(kept.size() == 7);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(at::equal(kept[i], expected_losses[i]));
}

// What a recording would freeze: numbers that differ between passes.
TEST_CASE("recorded pass: passes ask for the same operations with the same numbers") {
  for (const auto& small : small_models()) {
    if (small.family == "mlp") continue;
    ForwardContext chunked, checkpointed, autocast;
    chunked.loss_chunk_rows = 3;
    checkpointed.checkpoint_layers = true;
    autocast.autocast = true;
    for (const auto& context : {ForwardContext{}, chunked, checkpointed, autocast}) {
      INFO(small.name);
      const auto first = operations_of(small, context, 1);
      CHECK(first.size() > 50);
      CHECK(first == operations_of(small, context, 2));
    }
  }
}

// Of those that are not alike a test can see it.
TEST_CASE("recorded pass: a number that differs between passes is seen") {
  const auto lines = [](double factor) {
    OperationLog log;
    at::ones({3}).mul(factor);
    return log.lines();
  };
  CHECK(lines(2.0) == lines(2.0));
  CHECK(lines(2.0) != lines(3.0));
}

TEST_CASE("recorded pass: what has no such passes is refused, and says why") {
  const SmallRunFolder small(4);
  const auto done = small.run({"train", "--set", "trainer.cuda_graph=true", "--set",
                               "trainer.device=cpu", "--output", (small.folder / "a").string()});
  CHECK(done.exit_code == 2);
  CHECK_THAT(done.errors, Catch::Matchers::Contains("trainer.cuda_graph records a pass, and a CPU "
                                                    "has no graphs"));
  const auto resolved = [&](const std::string& setting) {
    auto yaml = YamlDocument::load(small.config);
    yaml.set("model.dropout=0");
    if (!setting.empty()) yaml.set(setting);
    return resolve(yaml.run_config());
  };
  const at::Device cuda(at::kCUDA, 0);
  CHECK_NOTHROW(require_alike_passes(resolved(""), cuda, true));
  CHECK_THROWS_WITH(require_alike_passes(resolved(""), cuda, false),
                    Catch::Matchers::Contains("several processes"));
  for (const std::string setting :
       {"trainer.gradients=released", "parallel.gradient_sum=pairwise", "model.dropout=0.1"}) {
    INFO(setting);
    const auto key = setting.substr(0, setting.find('='));
    CHECK_THROWS_WITH(require_alike_passes(resolved(setting), cuda, true),
                      Catch::Matchers::Contains(key));
  }
}
