// optimizer.rule: sophia_g in whole runs: labels that the model samples, every few steps.
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/same_runs.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Runs : SmallRunFolder {
  Runs() : SmallRunFolder(8) {}

  ProgramResult train(const std::string& name, const std::vector<std::string>& settings,
                      const std::string& verb = "train") const {
    std::vector<std::string> arguments = {verb};
    if (verb == "train") arguments.insert(arguments.end(), {"--output", (folder / name).string()});
    for (const auto& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
    return run(arguments);
  }
  RunResult result(const std::string& name) const { return read_run(folder / name / "run.h5"); }
  void check_same(const std::string& a, const std::string& b) const {
    check_same_checkpoints(folder / a, folder / b, 8);
  }
};

using Settings = std::vector<std::string>;

// Estimates before the steps 1, 4 and 7.
const Settings kSophia = {"optimizer.rule=sophia_g", "optimizer.learning_rate=0.01",
                          "optimizer.rho=1.0", "optimizer.curvature_every=3", "schedule.steps=8"};

Settings with(const std::string& more) {
  auto settings = kSophia;
  settings.push_back(more);
  return settings;
}

}  // namespace

TEST_CASE("sophia training: it learns, and what it learns of the curvature changes the run") {
  const Runs runs;
  REQUIRE(runs.train("sophia", kSophia).exit_code == 0);
  REQUIRE(runs.train("once", with("optimizer.curvature_every=100")).exit_code == 0);
  REQUIRE(runs.train("seeded", with("seed=7")).exit_code == 0);
  const auto run = runs.result("sophia"), once = runs.result("once");
  CHECK(run.steps.back().loss < run.steps.front().loss);
  CHECK(run.steps[2].loss == once.steps[2].loss);  // one estimate in both
  CHECK(run.steps[3].loss == once.steps[3].loss);  // before the step it is another
  CHECK(run.steps[4].loss != once.steps[4].loss);
}

TEST_CASE("sophia training: it stops anywhere and goes on to the same bits") {
  const Runs runs;
  REQUIRE(runs.train("whole", kSophia).exit_code == 0);
  for (const std::string step : {"3", "4"}) {  // before a step with an estimate, and behind it
    INFO(step);
    REQUIRE(runs.train("cut" + step, with("trainer.steps=" + step)).exit_code == 0);
    REQUIRE(runs.train("cut" + step, with("trainer.steps=8")).exit_code == 0);
    runs.check_same("whole", "cut" + step);
  }
}

TEST_CASE("sophia training: chunks of the loss and coded state go with it") {
  const Runs runs;
  REQUIRE(runs.train("whole", kSophia).exit_code == 0);
  REQUIRE(runs.train("chunked", with("trainer.loss_chunk_tokens=5")).exit_code == 0);
  // The same labels; sums over chunks in another order.
  const auto whole = runs.result("whole"), chunked = runs.result("chunked");
  CHECK(chunked.steps.back().loss == Approx(whole.steps.back().loss).epsilon(1e-3));
  const auto coded = runs.train("coded", with("optimizer.state.first_moments=dynamic_8bit"));
  INFO(coded.errors);
  CHECK(coded.exit_code == 0);
}

TEST_CASE("sophia training: what has no labels, or no second pass, is refused by name") {
  const Runs runs;
  const auto refused = [&](const std::vector<std::string>& more, const std::string& verb) {
    auto settings = kSophia;
    settings.insert(settings.end(), more.begin(), more.end());
    const auto result = runs.train("refused", settings, verb);
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  for (const std::string verb : {"train", "plan"}) {
    CHECK_THAT(refused({"trainer.gradients=released", "trainer.global_batch_tokens=0"}, verb),
               Contains("takes an estimate of the curvature"));
  }
  const auto quadratic = (runs.folder / "quadratic.yaml").string();
  write_file_atomically(quadratic, "name: q\noutput: " + (runs.folder / "q").string() +
                                       "\ndata: {kind: no_data}\nmodel: {family: quadratic}\n"
                                       "optimizer: {rule: sophia_g, learning_rate: 1.0e-3}\n"
                                       "trainer: {steps: 2, micro_batch_size: 1}\n");
  for (const std::string verb : {"train", "plan"}) {
    const auto result = run_program({verb, quadratic});
    INFO(result.errors);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains("the loss of model.family 'quadratic' has no labels"));
  }
}
