// trainer.master_weights in whole runs: bytes, what a stopped run goes on with, and that it trains.
#include "core/io/atomic_file.hpp"
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

// A model whose head is made, not learned, has no tensor for it in the store.
TEST_CASE("Quadratics train and are planned with masters of every format") {
  const blockwise::testing::TemporaryFolder folder;
  const auto config = (folder / "q.yaml").string();
  write_file_atomically(config, R"(name: q
data: {kind: no_data}
model: {family: quadratic, blocks: 2, block_size: 8}
optimizer: {rule: adamw, learning_rate: 0.1}
trainer: {steps: 2, micro_batch_size: 1, precision: bf16, threads: 1}
)");
  for (const std::string format : {"fp32", "lossless_16bit", "residual_8bit", "kahan"}) {
    INFO(format);
    const auto words = [&](const std::string& verb) {
      return std::vector<std::string>{verb, config, "--set", "trainer.master_weights=" + format};
    };
    auto train = words("train");
    train.insert(train.end(), {"--output", (folder / format).string()});
    const auto result = run_program(train);
    INFO(result.errors);
    CHECK(result.exit_code == 0);
    CHECK(run_program(words("plan")).exit_code == 0);
  }
}
