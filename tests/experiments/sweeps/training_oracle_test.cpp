// Losses of training runs: what is run, kept, compared and refused.
#include "experiments/sweeps/training_oracle.hpp"

#include <fmt/format.h>

#include "experiments/config/config_yaml.hpp"
#include "experiments/sweeps/paired_trials.hpp"
#include "experiments/sweeps/spawned_members.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Trials {
  TemporaryFolder folder;
  SpawnedMembers processes{program_path()};
  Trials() { write_small_corpus(folder.path()); }

  // As another process would: with nothing known but what the folder holds.
  TrainingOracle oracle() { return {folder / "trials", processes, 2, never_stop}; }
  // A run of six steps at the rate.
  Arm arm(const std::string& id, double rate) const {
    auto document = YamlDocument::parse(small_run_yaml(folder.path(), 6), "small");
    document.set("optimizer.learning_rate", fmt::format("{}", rate), "test");
    return {id, document.run_config()};
  }
  fs::path run(const std::string& member) const {
    return folder / "trials/members" / member / "run.h5";
  }
};

using Result = PairedTrials::Result;

}  // namespace

TEST_CASE("Trials by training: seeds pair, finished runs are kept, the budget is a bound") {
  Trials t;
  const auto slow = t.arm("slow", 1e-5);
  const auto fast = t.arm("fast", 1e-2);
  double first = 0.0;
  {
    auto runs = t.oracle();
    PairedTrials trials(runs, {5, 3});
    REQUIRE(trials.measure({slow, fast}, 2) == Result::measured);
    CHECK(trials.trials() == 4);
    CHECK(trials.losses(slow).size() == 2);
    const auto test = trials.difference(fast, slow);
    CHECK(test.difference.count == 2);
    CHECK(test.difference.mean < 0.0);
    CHECK(trials.mean_loss(fast) < trials.mean_loss(slow));
    CHECK(!fs::exists(t.run("fast-s1").parent_path() / "checkpoints"));
    // Two more runs would be six.
    CHECK(trials.measure({slow, fast}, 3) == Result::exhausted);
    CHECK(!fs::exists(t.run("fast-s3")));
    first = trials.losses(fast).front();
  }
  const auto written = fs::last_write_time(t.run("fast-s1"));
  auto same_runs = t.oracle();
  PairedTrials again(same_runs, {6, 3});
  REQUIRE(again.measure({slow, fast}, 3) == Result::measured);
  CHECK(fs::last_write_time(t.run("fast-s1")) == written);
  CHECK(again.losses(fast).front() == first);
  CHECK(again.losses(fast).size() == 3);
  // No more than limits.seeds.
  REQUIRE(again.measure({slow}, 10) == Result::measured);
  CHECK(again.trials() == 6);
}

TEST_CASE("Trials by training: an arm that means something else than what ran is refused by name") {
  Trials t;
  {
    auto runs = t.oracle();
    REQUIRE(runs.ask({{t.arm("one", 1e-3), 1}}).has_value());
  }
  auto runs = t.oracle();
  CHECK_THROWS_WITH(runs.ask({{t.arm("one", 2e-3), 1}}),
                    Contains("manifest.json") && Contains("the member 'one-s1'"));
  // The manifest does not say it, the run does.
  fs::remove(t.folder / "trials/manifest.json");
  auto again = t.oracle();
  CHECK_THROWS_WITH(again.ask({{t.arm("one", 2e-3), 1}}), Contains("run.h5: the member 'one-s1'"));
}

TEST_CASE("Trials by training: a run that diverges has no loss") {
  Trials t;
  auto broken = t.arm("broken", 1e3);
  broken.config.trainer.divergence_loss = 20.0;
  auto runs = t.oracle();
  const auto losses = runs.ask({{broken, 1}, {t.arm("fine", 1e-3), 1}});
  REQUIRE(losses.has_value());
  CHECK(!losses->front().has_value());
  CHECK(losses->back().has_value());
}
