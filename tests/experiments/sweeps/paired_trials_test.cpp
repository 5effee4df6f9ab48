// Paired trials: what is run, kept, compared and refused.
#include "experiments/sweeps/paired_trials.hpp"

#include <fmt/format.h>
#include "experiments/config/config_yaml.hpp"
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
  Trials() { write_small_corpus(folder.path()); }

  PairedTrials open(std::int64_t budget) const {
    return PairedTrials(folder / "trials", {program_path(), 2, budget, 3});
  }
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

TEST_CASE("paired trials: seeds pair, finished runs are kept, the budget is a bound") {
  const Trials t;
  const auto slow = t.arm("slow", 1e-5);
  const auto fast = t.arm("fast", 1e-2);
  double first = 0.0;
  {
    auto trials = t.open(5);
    REQUIRE(trials.measure({slow, fast}, 2) == Result::measured);
    CHECK(trials.runs() == 4);
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
  auto again = t.open(6);
  REQUIRE(again.measure({slow, fast}, 3) == Result::measured);
  CHECK(fs::last_write_time(t.run("fast-s1")) == written);
  CHECK(again.losses(fast).front() == first);
  CHECK(again.losses(fast).size() == 3);
  // No more than limits.seeds.
  REQUIRE(again.measure({slow}, 10) == Result::measured);
  CHECK(again.runs() == 6);
}

TEST_CASE("paired trials: an arm that means something else than what ran is refused by name") {
  const Trials t;
  {
    auto trials = t.open(2);
    REQUIRE(trials.measure({t.arm("one", 1e-3)}, 1) == Result::measured);
  }
  auto trials = t.open(2);
  CHECK_THROWS_WITH(trials.measure({t.arm("one", 2e-3)}, 1),
                    Contains("manifest.json") && Contains("the member 'one-s1'"));
  // The manifest does not say it, the run does.
  fs::remove(t.folder / "trials/manifest.json");
  auto again = t.open(2);
  CHECK_THROWS_WITH(again.measure({t.arm("one", 2e-3)}, 1),
                    Contains("run.h5: the member 'one-s1'"));
}

TEST_CASE("paired trials: a race keeps the best, a divergence is the worst, a clear case stops") {
  const Trials t;
  const auto baseline = t.arm("slow", 1e-5);
  auto trials = t.open(40);
  auto broken = t.arm("broken", 1e3);
  broken.config.trainer.divergence_loss = 20.0;
  const std::vector<Arm> arms = {t.arm("r4", 1e-4), broken, t.arm("r2", 1e-2), t.arm("r3", 1e-3)};
  const auto result = race(trials, baseline, arms, 1);
  REQUIRE(result.result == Result::measured);
  REQUIRE(result.survivors.size() == 1);
  CHECK(result.survivors.front().id == "r2");
  CHECK(trials.mean_loss(broken) == kDivergedLoss);
  // The worse half had one seed.
  CHECK(trials.losses(broken).size() == 1);
  CHECK(trials.losses(result.survivors.front()).size() == 3);
  const auto before = trials.runs();
  REQUIRE(measure_until_clear(trials, result.survivors.front(), baseline, 0.0) == Result::measured);
  CHECK(trials.runs() == before);  // both have all seeds
}
