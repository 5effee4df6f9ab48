// Checkpoints that stay: the best one, and those at every N steps.
#include <fmt/format.h>

#include <algorithm>

#include "core/io/input_file.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

using Arguments = std::vector<std::string>;

Arguments train(const Arguments& settings) {
  Arguments arguments = {"train"};
  for (const auto& setting : settings) {
    arguments.emplace_back("--set");
    arguments.push_back(setting);
  }
  return arguments;
}

const Arguments kBest = {"trainer.keep_best=true", "trainer.keep_checkpoints=1",
                         "trainer.checkpoint_every=0", "trainer.evaluate_every=2"};

std::int64_t lowest_evaluation(const fs::path& run) {
  const auto rows = read_run(run / "run.h5").evaluations;
  const auto trained = std::ranges::find_if(rows, [](const auto& row) { return row.step > 0; });
  return std::ranges::min_element(trained, rows.end(), {}, &EvaluationRecord::loss)->step;
}

// The learning rate grows so much that the loss rises again: the best step is inside the run.
Arguments rising() {
  auto settings = kBest;
  settings.insert(settings.end(), {"optimizer.learning_rate=3.0", "schedule.name=constant",
                                   "schedule.warmup_steps=12", "trainer.divergence_loss=0"});
  return settings;
}

}  // namespace

TEST_CASE("Checkpoints: the best one stays, and every verb opens it by its name") {
  const SmallRunFolder small(12);
  REQUIRE(small.run(train(rising())).exit_code == 0);
  const auto run = small.folder / "run";
  const auto best = lowest_evaluation(run);
  REQUIRE(best < 12);  // otherwise the newest would do
  CHECK(best_checkpoint_step(run) == best);
  CHECK(checkpoint_steps(run) == std::vector<std::int64_t>{best, 12});
  CHECK(open_model(best_checkpoint(run)).step == best);
  const auto tokens = (small.folder / "validation.bin").string();
  const auto eval = run_program({"eval", "--model", best_checkpoint(run).string(), "--tokens",
                                 tokens, "--sequence-length", "16"});
  CHECK(eval.exit_code == 0);
  CHECK_THAT(eval.output, Contains(fmt::format("step {} of the run", best)));
  CHECK(run_program({"export", "--model", best_checkpoint(run).string(), "--output",
                     (small.folder / "exported").string()})
            .exit_code == 0);
}

TEST_CASE("Checkpoints: a run that keeps its best has the bits of one that does not") {
  const SmallRunFolder plain(12), kept(12);
  REQUIRE(plain.run(train({"trainer.evaluate_every=2"})).exit_code == 0);
  auto settings = kBest;
  settings.emplace_back("trainer.keep_every=5");
  REQUIRE(kept.run(train(settings)).exit_code == 0);
  const auto a = read_run(plain.folder / "run/run.h5"), b = read_run(kept.folder / "run/run.h5");
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) CHECK(a.steps[i].loss == b.steps[i].loss);
  const auto steps = checkpoint_steps(kept.folder / "run");
  for (const auto step : {5, 10, 12}) CHECK(std::ranges::count(steps, step) == 1);
  CHECK(steps.size() <= 4);  // and the best one
}

TEST_CASE("Checkpoints: what a killed run calls its best is whole, and in the end is the best") {
  const SmallRunFolder timed(12), killed(12);
  const auto whole = timed.run(train(rising()));
  REQUIRE(whole.exit_code == 0);
  const auto run = killed.folder / "run";
  for (const auto& prefix : kills_during(whole.seconds, {0.6, 0.8})) {
    killed.run(train(rising()), prefix);
    if (const auto step = best_checkpoint_step(run)) {
      CHECK(open_model(best_checkpoint(run)).step == *step);
    }
  }
  // As where it was killed between a checkpoint and its mark; the last one is another case: there
  // the kills came too late for anything to go on.
  if (fs::exists(run / "checkpoints") && !fs::exists(checkpoint_folder(run, 12))) {
    fs::remove(best_checkpoint(run));
    fs::create_directory_symlink("step_00000099", run / "checkpoints/best.partial");
  }
  REQUIRE(killed.run(train(rising())).exit_code == 0);
  CHECK(best_checkpoint_step(run) == lowest_evaluation(timed.folder / "run"));
}

TEST_CASE("Checkpoints: a link that leads nowhere or elsewhere is no best checkpoint") {
  const TemporaryFolder run;
  fs::create_directories(checkpoint_folder(run.path(), 4));
  CHECK(!best_checkpoint_step(run.path()));
  for (const auto* target : {"step_00000099", "../..", "step_x"}) {
    fs::create_directory_symlink(target, best_checkpoint(run.path()));
    CHECK(!best_checkpoint_step(run.path()));
    mark_best_checkpoint(run.path(), 4);
    CHECK(best_checkpoint_step(run.path()) == 4);
    fs::remove(best_checkpoint(run.path()));
  }
}

TEST_CASE("Checkpoints: a full disk keeps the best one of before") {
  const SmallRunFolder small(12);
  const auto stopped = small.run(train(rising()), "ulimit -f 60;");
  CHECK(stopped.exit_code != 0);
  const auto run = small.folder / "run";
  if (const auto step = best_checkpoint_step(run)) {
    CHECK(open_model(best_checkpoint(run)).step == *step);
  }
  REQUIRE(small.run(train(rising())).exit_code == 0);
  CHECK(best_checkpoint_step(run) == lowest_evaluation(run));
}
