// optimizer.state in whole runs: what it saves, that a stopped run goes on to the same bits, and
// that it trains like float32.
#include <cmath>
#include <map>

#include "core/io/safetensors.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/training/memory_plan.hpp"
#include "tests/support/trained_runs.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Runs : TrainedRuns {
  Runs() : TrainedRuns("optimizer.state.smallest=64") {}
};

Settings moments(const std::string& format) {
  return {"optimizer.state.first_moments=" + format, "optimizer.state.second_moments=" + format};
}

}  // namespace

TEST_CASE("optimizer.state: a run that stops goes on to the same weights and the same codes") {
  const Runs runs;
  const auto format = GENERATE("bf16", "dynamic_8bit", "companded_8bit", "dynamic_4bit", "fp8");
  INFO(format);
  runs.require_continues(moments(format));
}

TEST_CASE("optimizer.state: it trains like float32 in a fraction of the bytes") {
  const Runs runs;
  const auto exact = runs.trained("fp32", {});
  const auto last = exact.evaluations.back().loss, first = exact.evaluations.front().loss;
  REQUIRE(last < first - 0.1);
  for (const auto* format : {"bf16", "dynamic_8bit", "companded_8bit", "dynamic_4bit", "fp8"}) {
    INFO(format);
    const auto coded = runs.trained(format, moments(format));
    // A tenth of what was learned in 24 steps.
    CHECK(coded.evaluations.back().loss == Approx(last).margin(0.1 * (first - last)));
    CHECK(coded.optimizer_bytes < exact.optimizer_bytes * 6 / 10);
    CHECK(coded.steps.front().loss == exact.steps.front().loss);
  }
}

TEST_CASE("optimizer.state: planned bytes and peak are those of the run") {
  const Runs runs;
  const auto run = runs.trained("coded", with(moments("dynamic_8bit"), "trainer.steps=4"));
  auto document = YamlDocument::load(runs.config);
  document.set("optimizer.state",
               "{first_moments: dynamic_8bit, second_moments: dynamic_8bit, "
               "smallest: 64}",
               "test");
  const auto plan = plan_memory(document.run_config());
  auto kinds = plan.optimizer;
  std::ranges::sort(kinds);
  CHECK(kinds == run.state_bytes);
  CHECK(static_cast<double>(plan.peak_bytes) ==
        Approx(static_cast<double>(run.peak_allocated)).epsilon(0.01));
}

TEST_CASE("optimizer.state: with gradients that are released, too") {
  const Runs runs;
  const auto settings = with(moments("companded_8bit"), "trainer.global_batch_tokens=0");
  const auto kept = runs.trained("kept", settings);
  const auto released = runs.trained("released", with(settings, "trainer.gradients=released"));
  CHECK(released.gradient_bytes == 0);
  CHECK(released.optimizer_bytes == kept.optimizer_bytes);
  CHECK(released.evaluations.back().loss == Approx(kept.evaluations.back().loss).epsilon(1e-5));
}

TEST_CASE("optimizer.state: what cannot be is refused in one sentence") {
  const Runs runs;
  const auto refused = [&](const Settings& settings) {
    const auto result = runs.train("refused", settings);
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  CHECK_THAT(refused({"optimizer.state.first_moments=int8"}),
             Contains("optimizer.state.first_moments") && Contains("fp32, bf16, dynamic_8bit"));
  CHECK_THAT(refused({"optimizer.state.smallest=0"}), Contains("1 to"));
}

TEST_CASE("Precision: 24 steps in bfloat16 go the way of float32") {
  const TrainedRuns runs("optimizer.learning_rate=3e-3");
  const auto exact = runs.trained("fp32", {});
  const std::map<std::string, double> bounds = {{"bf16_autocast", 3e-7}, {"bf16", 1e-4}};
  for (const auto& [precision, bound] : bounds) {
    INFO(precision);
    const auto rounded = runs.trained(precision, {"trainer.precision=" + precision});
    REQUIRE(rounded.steps.size() == exact.steps.size());
    double apart = 0.0, whole = 0.0;
    for (std::size_t i = 0; i < exact.steps.size(); ++i) {
      apart += std::pow(rounded.steps[i].loss - exact.steps[i].loss, 2);
      whole += std::pow(exact.steps[i].loss, 2);
    }
    CHECK(apart / whole < bound);
    CHECK(apart > 0.0);
  }
}

TEST_CASE("gefen: the run file has the bytes of the blocks that the first gradient showed") {
  const TrainedRuns runs("optimizer.rule=gefen");
  const auto run = runs.trained("gefen", {});
  std::int64_t saved = 0;
  const auto state = checkpoint_folder(runs.folder / "gefen", 24) / "optimizer.safetensors";
  for (const auto& [name, tensor] : read_safetensors(state).tensors) {
    saved += static_cast<std::int64_t>(tensor.nbytes());
  }
  CHECK(run.optimizer_bytes == saved);
  CHECK(run.optimizer_bytes < 2 * run.parameter_bytes);
}
