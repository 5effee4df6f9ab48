// trainer.gradients: released, in whole runs: what it saves, that it changes no number, and what it
// does not go with.
#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Runs : SmallRunFolder {
  Runs() : SmallRunFolder(8) {}

  ProgramResult train(const std::string& name, const std::vector<std::string>& settings) const {
    std::vector<std::string> arguments = {"train", "--output", (folder / name).string(), "--set",
                                          "trainer.global_batch_tokens=0"};
    for (const auto& setting : settings) {
      arguments.push_back("--set");
      arguments.push_back(setting);
    }
    return run(arguments);
  }
  RunResult result(const std::string& name) const { return read_run(folder / name / "run.h5"); }
  std::string weights(const std::string& name, std::int64_t step) const {
    return read_text_file(checkpoint_folder(folder / name, step) / "parameters.safetensors");
  }
};

const std::vector<std::string> kLomo = {"optimizer.rule=lomo", "optimizer.learning_rate=0.3",
                                        "optimizer.gradient_clip=0"};

std::vector<std::string> with(std::vector<std::string> settings, const std::string& more) {
  settings.push_back(more);
  return settings;
}

}  // namespace

TEST_CASE("released training: the numbers of kept gradients, without their buffer") {
  const Runs runs;
  REQUIRE(runs.train("kept", kLomo).exit_code == 0);
  REQUIRE(runs.train("released", with(kLomo, "trainer.gradients=released")).exit_code == 0);
  const auto kept = runs.result("kept"), released = runs.result("released");
  REQUIRE(kept.steps.size() == 8);
  for (std::size_t i = 0; i < kept.steps.size(); ++i) {
    CHECK(kept.steps[i].loss == released.steps[i].loss);
    CHECK(kept.steps[i].gradient_norm == Approx(released.steps[i].gradient_norm));
    CHECK(kept.steps[i].update_norm == Approx(released.steps[i].update_norm));
  }
  CHECK(runs.weights("kept", 8) == runs.weights("released", 8));
  CHECK(kept.gradient_bytes == kept.parameter_bytes);
  CHECK(released.gradient_bytes == 0);
  CHECK(released.optimizer_bytes == 0);
  // All but the largest tensor's, which exists while it is used: here it is more than a third.
  CHECK(kept.peak_allocated - released.peak_allocated > kept.gradient_bytes / 3);
}

TEST_CASE("released training: it stops and goes on to the same weights") {
  const Runs runs;
  const auto settings =
      with({"optimizer.rule=adamw", "schedule.steps=8"}, "trainer.gradients=released");
  REQUIRE(runs.train("whole", settings).exit_code == 0);
  REQUIRE(runs.train("cut", with(settings, "trainer.steps=4")).exit_code == 0);
  REQUIRE(runs.train("cut", with(settings, "trainer.steps=8")).exit_code == 0);
  CHECK(runs.weights("whole", 8) == runs.weights("cut", 8));
}

TEST_CASE("released training: clipping by norm takes a second pass and the same step") {
  const Runs runs;
  const std::vector<std::string> clipped = {"optimizer.rule=lomo", "optimizer.learning_rate=0.3",
                                            "optimizer.gradient_clip=0.05"};
  REQUIRE(runs.train("kept", clipped).exit_code == 0);
  REQUIRE(runs.train("released", with(clipped, "trainer.gradients=released")).exit_code == 0);
  const auto kept = runs.result("kept"), released = runs.result("released");
  for (std::size_t i = 0; i < kept.steps.size(); ++i) {
    CHECK(kept.steps[i].gradient_norm > 0.05);
    // The norm is summed tensor by tensor: a rounding of a double, eight steps long.
    CHECK(kept.steps[i].loss == Approx(released.steps[i].loss).epsilon(1e-6));
  }
}

TEST_CASE("released training: what needs all gradients at once is refused by name") {
  const Runs runs;
  const auto refused = [&](const std::string& setting) {
    const auto result = runs.train("refused", {"trainer.gradients=released", setting});
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  CHECK_THAT(refused("trainer.norms_every=1"), Contains("released leaves none for norms_every"));
  CHECK_THAT(refused("trainer.global_batch_tokens=1024"),
             Contains("trainer.gradients is released: each backward pass is a step"));
  CHECK_THAT(refused("trainer.gradients=freed"), Contains("kept, released"));
}
