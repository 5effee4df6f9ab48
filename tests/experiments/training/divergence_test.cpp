// Which losses end a run as diverged.
#include "experiments/training/divergence.hpp"

#include <cmath>
#include <limits>

#include "core/io/atomic_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

TEST_CASE("divergence: a hundred times what is known at the start, unless a bound is set") {
  TrainerConfig trainer;
  const DivergenceScale fresh{10.9, 50257};  // log(50257) = 10.825
  CHECK(divergence_bound(trainer, fresh) == Approx(1090.0));
  CHECK(divergence_bound(trainer, {0.1, 50257}) == Approx(100.0 * std::log(50257.0)));
  CHECK(divergence_reason(trainer, fresh, 1089.0, 1e30).empty());
  CHECK_THAT(divergence_reason(trainer, fresh, 2e7, 3.0), Contains("loss 20000000 ") &&
                                                              Contains("the bound is 1090") &&
                                                              Contains("divergence_factor"));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(!divergence_reason(trainer, fresh, nan, 1.0).empty());
  CHECK(!divergence_reason(trainer, fresh, 1.0, HUGE_VAL).empty());
  trainer.divergence_loss = 20.0;
  CHECK_THAT(divergence_reason(trainer, fresh, 20.5, 3.0), Contains("divergence_loss is 20"));
  trainer.divergence_loss = 5000.0;  // what is set counts, also where it is the larger
  CHECK(divergence_reason(trainer, fresh, 4999.0, 3.0).empty());
  trainer.divergence_loss = trainer.divergence_factor = 0.0;
  CHECK(divergence_reason(trainer, fresh, 1e300, 3.0).empty());
  CHECK(!divergence_reason(trainer, fresh, HUGE_VAL, 3.0).empty());
}

// Gradient descent at many times the largest stable rate: the loss grows by a factor each step and
// stays finite for these.
TEST_CASE("divergence: a large finite loss ends the run with its own exit code") {
  const TemporaryFolder folder;
  const auto config = (folder / "quadratic.yaml").string();
  write_file_atomically(
      config, "name: q\noutput: " + (folder / "run").string() +
                  "\ndata: {kind: no_data}\n"
                  "model: {family: quadratic, condition: 10, block_condition: 2}\n"
                  "optimizer: {rule: sgd_momentum, learning_rate: 1.0, gradient_clip: 0}\n"
                  "trainer: {steps: 6, micro_batch_size: 1, threads: 1}\n");
  for (int attempt = 0; attempt < 2; ++attempt) {  // a run that is over says so again
    const auto result = run_program({"train", config});
    INFO(result.errors);
    CHECK(result.exit_code == 3);
    CHECK_THAT(result.output, Contains("diverged after step") && Contains("the bound is"));
  }
  const auto run = read_run(folder / "run/run.h5");
  CHECK(run.state == RunState::diverged);
  CHECK(std::isfinite(run.steps.back().loss));
  CHECK(run.steps.size() < 6);
  const auto on = run_program({"train", config, "--output", (folder / "on").string(), "--set",
                               "trainer.divergence_factor=0"});
  CHECK(on.exit_code == 0);
  CHECK(read_run(folder / "on/run.h5").steps.size() == 6);
}
