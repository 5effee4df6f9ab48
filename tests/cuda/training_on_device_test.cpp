// A few steps of training by `device: cuda`, against the same by `device: cpu`.
#include <ATen/ATen.h>

#include <cmath>

#include "core/base/random_stream.hpp"
#include "core/memory/device.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/cuda/tested_device.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// Losses of eight steps; without dropout, whose masks are the device's own.
std::vector<double> losses(const std::string& device, const std::vector<std::string>& settings) {
  const SmallRunFolder runs(8);
  std::vector<std::string> words = {"train", "--set", "trainer.device=" + device, "--set",
                                    "model.dropout=0"};
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

// Masks are a function of seed, step and micro-batch there, too: the layers that are computed again
// in the backward pass draw the same ones.
TEST_CASE("device training: dropout's masks repeat, and differ from step to step") {
  if (!has_cuda_device()) return;
  const std::string masks = "model.dropout=0.3";
  const auto once = losses("cuda", {masks});
  CHECK(losses("cuda", {masks}) == once);
  CHECK(losses("cuda", {masks, "trainer.activation_checkpointing=true"}) == once);
  const auto mask = [](std::uint64_t step) {
    const auto device = resolve_device("cuda");
    const auto generator = make_generator_on(device, 7, RandomStream::dropout, step);
    return at::empty({10000}, at::TensorOptions(at::kFloat).device(device))
        .bernoulli_(0.7, generator);
  };
  CHECK(at::equal(mask(1), mask(1)));
  CHECK(!at::equal(mask(1), mask(2)));
  // Four standard deviations of 10,000 draws.
  CHECK(mask(1).mean().item<double>() == Approx(0.7).margin(0.019));
}

TEST_CASE("device training: where there is no device it is bad input, in a sentence") {
  if (at::globalContext().hasCUDA()) {
    SUCCEED("there is one");
    return;
  }
  const SmallRunFolder runs(8);
  const auto done = runs.run({"train", "--set", "trainer.device=cuda"});
  CHECK(done.exit_code == 2);
  CHECK_THAT(done.errors, Contains("no CUDA device"));
}

TEST_CASE("device training: a run that stopped on one device goes on on the other") {
  if (!has_cuda_device()) return;
  const auto whole = losses("cpu", {});
  for (const auto& [first, second] : {std::pair{"cpu", "cuda"}, {"cuda", "cpu"}}) {
    INFO("first on " << first);
    const SmallRunFolder runs(8);
    const auto output = (runs.folder / "out").string();
    for (const auto& [device, steps] : {std::pair{first, "4"}, {second, "8"}}) {
      const auto done =
          runs.run({"train", "--output", output, "--set", "model.dropout=0", "--set",
                    "schedule.steps=8", "--set", std::string("trainer.device=") + device, "--set",
                    std::string("trainer.steps=") + steps});
      INFO(done.errors);
      REQUIRE(done.exit_code == 0);
    }
    const auto steps = read_run(output + "/run.h5").steps;
    REQUIRE(steps.size() == whole.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      CHECK(steps[i].loss == Approx(whole[i]).epsilon(1e-4));
    }
  }
}

// float64 on both: the order of sums is all that differs, and Lanczos magnifies it least at the
// end.
TEST_CASE("device training: eigenvalues are the CPU's, partitions and rates are found there, too") {
  if (!has_cuda_device()) return;
  const SmallRunFolder runs(2);
  const auto run_on = [&](const std::string& device, const std::string& verb,
                          const std::vector<std::string>& more) {
    const auto output = (runs.folder / (verb + device)).string();
    std::vector<std::string> words = {verb, "--output", output, "--set",
                                      "trainer.device=" + device};
    words.insert(words.end(), more.begin(), more.end());
    const auto done = runs.run(words);
    INFO(verb << " on " << device << ": " << done.errors);
    REQUIRE(done.exit_code == 0);
    return output;
  };
  const auto largest = [&](const std::string& device) {
    const auto folder = run_on(device, "spectrum", {"--no-figure", "--precision", "fp64"});
    const auto file = Hdf5File::open_for_reading(folder + "/spectrum.h5");
    return read_hessian_rows(file).eigenvalues.front().value;
  };
  CHECK(largest("cuda") == Approx(largest("cpu")).epsilon(1e-6));
  for (const auto* device : {"cpu", "cuda"}) {
    run_on(device, "partition", {"--set", "discovery.vectors=2"});
    run_on(device, "search-lr", {"--set", "search_lr.samples=2"});
  }
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
