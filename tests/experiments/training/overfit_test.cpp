// trainer.overfit_batches: the first batches again and again, the first thing that one tries.
#include "core/io/input_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Overfit : SmallRunFolder {
  explicit Overfit(std::int64_t steps) : SmallRunFolder(steps) {}
  ResolvedRun resolved(const std::string& output, const std::vector<std::string>& settings) const {
    auto document = YamlDocument::load(config);
    document.set("model.dropout=0");
    for (const auto& setting : settings) document.set(setting);
    auto run = document.run_config();
    run.output = (folder / output).string();
    return resolve(run);
  }
  RunResult trained(const std::string& output, const std::vector<std::string>& settings) const {
    const auto run = resolved(output, settings);
    REQUIRE(train(run, {[](const StepRecord&) {}}).state == RunState::finished);
    return read_run(run.config.output + "/run.h5");
  }
};

}  // namespace

// Parameters that do not move: equal losses are equal batches, to the bit.
TEST_CASE("overfit_batches: the batch of a step is that of so many steps before") {
  const Overfit o(6);
  const std::vector<std::string> frozen = {"optimizer.learning_rate=1.0e-30",
                                           "optimizer.weight_decay=0"};
  const auto with = [&](const std::string& setting) {
    auto settings = frozen;
    settings.push_back(setting);
    return settings;
  };
  const auto all = o.trained("all", frozen).steps;
  CHECK(all[1].loss != all[0].loss);
  for (const std::size_t cycle : {1, 2}) {
    const auto name = "trainer.overfit_batches=" + std::to_string(cycle);
    const auto steps = o.trained(std::to_string(cycle), with(name)).steps;
    for (std::size_t i = 0; i < steps.size(); ++i) CHECK(steps[i].loss == all[i % cycle].loss);
  }
}

TEST_CASE("overfit_batches: one batch is learned by heart, and a stopped run goes on alike") {
  const Overfit o(120);
  const std::vector<std::string> settings = {
      "trainer.overfit_batches=1", "trainer.global_batch_tokens=64", "trainer.micro_batch_size=4",
      "optimizer.rule=adamw",      "optimizer.learning_rate=2.0e-2", "optimizer.weight_decay=0",
      "model.n_embd=32",           "trainer.evaluate_every=0",       "trainer.checkpoint_every=0"};
  const auto whole = o.trained("whole", settings);
  CHECK(whole.steps.front().loss > 3.5);  // log 64 = 4.16
  CHECK(whole.steps.back().loss < 0.1);
  // Two processes: HDF5 goes on with no file that it wrote to in the same one.
  for (const std::int64_t stop : {50, 0}) {
    ChildProcess child([&](const auto& say) {
      bool is_over = false;
      const auto watch = [&](const StepRecord& row) { is_over = row.step == stop; };
      const auto outcome = train(o.resolved("stopped", settings),
                                 {watch, [&] { return is_over; }, [] { return "the test"; }});
      say(run_state_names()[static_cast<std::size_t>(outcome.state)]);
    });
    CHECK(child.wait().text == (stop > 0 ? "interrupted" : "finished"));
  }
  const auto parts = read_run(o.folder / "stopped/run.h5");
  REQUIRE(parts.steps.size() == whole.steps.size());
  for (std::size_t i = 0; i < parts.steps.size(); ++i) {
    CHECK(parts.steps[i].loss == whole.steps[i].loss);
  }
  const auto parameters = [&](const std::string& output) {
    return read_text_file(checkpoint_folder(o.folder / output, 120) / "parameters.safetensors");
  };
  CHECK(parameters("stopped") == parameters("whole"));
}
