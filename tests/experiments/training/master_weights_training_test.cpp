// trainer.master_weights in whole runs: bytes, what a stopped run goes on with, and that it trains.
#include "core/io/input_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/memory_plan.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Settings = std::vector<std::string>;

struct Runs : SmallRunFolder {
  Runs() : SmallRunFolder(24) {}

  ProgramResult train(const std::string& name, const Settings& settings) const {
    Settings words = {"train", "--output", (folder / name).string(), "--set",
                      "trainer.precision=bf16"};
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    return run(words);
  }
  RunResult trained(const std::string& name, const Settings& settings) const {
    const auto result = train(name, settings);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_run(folder / name / "run.h5");
  }
  std::string file(const std::string& name, std::int64_t step, const char* file) const {
    return read_text_file(checkpoint_folder(folder / name, step) / file);
  }
};

Settings masters(const std::string& format) { return {"trainer.master_weights=" + format}; }

Settings with(Settings settings, const std::string& more) {
  settings.push_back(more);
  return settings;
}

}  // namespace

TEST_CASE("master_weights: a run that stops goes on to the same masters") {
  const Runs runs;
  const auto format = GENERATE("lossless_16bit", "residual_8bit", "kahan", "stochastic", "none");
  INFO(format);
  const auto settings = with(masters(format), "schedule.steps=24");
  runs.trained("whole", settings);
  runs.trained("cut", with(settings, "trainer.steps=11"));
  runs.trained("cut", settings);
  for (const auto* name : {"parameters.safetensors", "optimizer.safetensors"}) {
    CHECK(runs.file("whole", 24, name) == runs.file("cut", 24, name));
  }
}

TEST_CASE("master_weights: a run is near that of float32 masters, without loss very near") {
  const Runs runs;
  const auto exact = runs.trained("fp32", {});
  // Ties of the rounding to bf16 apart, one of 2^16 weights at every step: what they move in 24
  // steps is a thousandth of what is learned.
  const auto lossless = runs.trained("lossless_16bit", masters("lossless_16bit"));
  const auto learned = exact.evaluations.front().loss - exact.evaluations.back().loss;
  CHECK(lossless.evaluations.back().loss ==
        Approx(exact.evaluations.back().loss).margin(2e-3 * learned));
  const auto gained = exact.evaluations.front().loss - exact.evaluations.back().loss;
  for (const auto* format : {"residual_8bit", "kahan", "stochastic"}) {
    INFO(format);
    const auto run = runs.trained(format, masters(format));
    CHECK(run.evaluations.back().loss ==
          Approx(exact.evaluations.back().loss).margin(0.1 * gained));
  }
}

TEST_CASE("master_weights: what is refused says why") {
  const Runs runs;
  const auto refused = [&](const Settings& settings) {
    const auto result = runs.train("refused", settings);
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  CHECK_THAT(refused({"trainer.precision=fp32", "trainer.master_weights=kahan"}),
             Contains("trainer.master_weights") && Contains("precision bf16"));
  CHECK_THAT(refused({"trainer.master_weights=int8"}),
             Contains("trainer.master_weights") && Contains("lossless_16bit"));
}
