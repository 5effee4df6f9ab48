// trainer.master_weights in whole runs: bytes, what a stopped run goes on with, and that it trains.
#include "experiments/config/config_yaml.hpp"
#include "experiments/training/memory_plan.hpp"
#include "tests/support/trained_runs.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Runs : TrainedRuns {
  Runs() : TrainedRuns("trainer.precision=bf16") {}
};

Settings masters(const std::string& format) { return {"trainer.master_weights=" + format}; }

}  // namespace

TEST_CASE("master_weights: a run that stops goes on to the same masters") {
  const Runs runs;
  const auto format = GENERATE("lossless_16bit", "residual_8bit", "kahan", "stochastic", "none");
  INFO(format);
  runs.require_continues(masters(format));
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
