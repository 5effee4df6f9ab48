// A few steps of training by `device: cuda`, against the same by `device: cpu`.
#include <cmath>

#include "experiments/records/run_recorder.hpp"
#include "tests/cuda/tested_device.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// Losses of eight steps.
std::vector<double> losses(const std::string& device, const std::vector<std::string>& settings) {
  const SmallRunFolder runs(8);
  std::vector<std::string> words = {"train", "--set", "trainer.device=" + device};
  for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
  const auto output = (runs.folder / "out").string();
  words.insert(words.end(), {"--output", output});
  const auto done = runs.run(words);
  INFO(done.errors);
  REQUIRE(done.exit_code == 0);
  std::vector<double> all;
  for (const auto& step : read_run(output + "/run.h5").steps) all.push_back(step.loss);
  return all;
}

void check_same_losses(const std::vector<std::string>& settings, double tolerance) {
  const auto on_device = losses("cuda", settings), on_cpu = losses("cpu", settings);
  REQUIRE(on_device.size() == 8);
  for (std::size_t i = 0; i < on_device.size(); ++i) {
    INFO("step " << i + 1);
    CHECK(on_device[i] == Approx(on_cpu[i]).epsilon(tolerance));
  }
}

}  // namespace

// float32 on both; what eight steps make of differences in the last place is far below 1e-4.
TEST_CASE("device training: the losses of the CPU in float32") {
  if (!has_cuda_device()) return;
  for (const auto* rule : {"adamw", "adam_mini", "lion"}) {
    INFO(rule);
    check_same_losses({std::string("optimizer.rule=") + rule}, 1e-4);
  }
}

// bfloat16 has 8 bits; a loss is a mean over many values.
TEST_CASE("device training: the losses of the CPU in bfloat16") {
  if (!has_cuda_device()) return;
  for (const auto* precision : {"bf16", "bf16_autocast"}) {
    INFO(precision);
    check_same_losses({std::string("trainer.precision=") + precision}, 1e-2);
  }
}

TEST_CASE("device training: released gradients give the losses of kept ones") {
  if (!has_cuda_device()) return;
  check_same_losses({"optimizer.rule=adam_mini", "trainer.gradients=released",
                     "trainer.global_batch_tokens=0", "optimizer.gradient_clip=0"},
                    1e-4);
}

// The same operations on the same memory, in another stream.
TEST_CASE("device training: passes of a CUDA graph give the losses of passes themselves") {
  if (!has_cuda_device()) return;
  for (const auto* precision : {"fp32", "bf16", "bf16_autocast"}) {
    INFO(precision);
    const std::string setting = std::string("trainer.precision=") + precision;
    const auto plain = losses("cuda", {setting});
    CHECK(losses("cuda", {setting, "trainer.cuda_graph=true"}) == plain);
  }
}
