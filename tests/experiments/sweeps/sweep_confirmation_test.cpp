// sweep.confirm and report --confirm, and the test set that goes with them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/io/input_file.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/found_on.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_sweep.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

const std::string kSweep = R"(sweep:
  seeds: [1, 2]
  parameters:
    optimizer.learning_rate: {values: [1.0e-4, 2.0e-2]}
  groups:
    - name: adamw
      set: {optimizer.rule: adamw}
)";

struct Prepared : SmallSweep {
  Prepared() : SmallSweep(4, kSweep) {
    fs::copy_file(folder / "validation.bin", folder / "test.bin");
  }
  std::string test_file() const { return (folder / "test.bin").string(); }
};

}  // namespace

TEST_CASE("sweep.confirm runs the best of each group on its seeds, with the test set") {
  const Prepared p;
  const std::vector<std::string> words = {"--set", "sweep.confirm={seeds: [11, 12, 13]}", "--set",
                                          "data.test=" + p.test_file()};
  const auto result = p.sweep(words);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("\"finished\":7,"));
  const auto confirmations = p.manifest()["confirmations"];
  REQUIRE(confirmations.size() == 3);
  CHECK(confirmations[0]["id"] == "adamw-lr2.0e-2-s11");
  const auto run = read_run(p.folder / "run" / confirmations[0]["run"].get<std::string>());
  REQUIRE(run.test);
  CHECK((run.test->step == 4 && run.test->targets == 93 * 16));
  CHECK(run.provenance.seed == 11);
  const auto report = p.report_json();
  REQUIRE(report["confirmed"].size() == 1);
  CHECK(report["confirmed"][0]["settings"]["optimizer.learning_rate"] == "0.02");
  CHECK(report["confirmed"][0]["seeds_finished"] == 3);
  CHECK(report["confirmed"][0]["test_losses"]["11"] == run.test->loss);
  CHECK(report["configurations"][0]["seeds_finished"] == 2);
  // Again: nothing runs. A further seed of the search must not be one that confirmed.
  const auto kept = fs::last_write_time(p.folder / "run/members/adamw-lr2.0e-2-s11/run.h5");
  CHECK(p.sweep(words).exit_code == 0);
  CHECK(fs::last_write_time(p.folder / "run/members/adamw-lr2.0e-2-s11/run.h5") == kept);
  const auto overlap =
      p.sweep({"--set", "sweep.seeds=[1, 2, 11]", "--set", "data.test=" + p.test_file()});
  CHECK(overlap.exit_code == 2);
  CHECK_THAT(overlap.errors, Contains("the seed 11 is to choose the best configurations and to"));
}

TEST_CASE("report --confirm takes seeds that chose nothing, those it is given or its own") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto folder = (p.folder / "run").string();
  const auto refused = run_program({"report", folder, "--confirm", "2", "3"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.errors, Contains("the seed 2 is to choose"));
  CHECK(!p.manifest().contains("confirmations"));
  const auto report = p.report_json({"--jobs", "2", "--confirm"});
  REQUIRE(report["confirmed"].size() == 1);
  CHECK(report["confirmed"][0]["final_losses"].contains("3"));
  CHECK(report["confirmed"][0]["final_losses"].contains("4"));
  CHECK(report["confirmed"][0]["seeds_finished"] == 2);
  // Another one joins those that are there.
  CHECK(p.report_json({"--confirm", "9"})["confirmed"][0]["seeds_finished"] == 3);
}

TEST_CASE("A confirmation waits for the members that choose") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  fs::remove_all(p.folder / "run/members/adamw-lr1.0e-4-s1");
  const auto result = run_program({"report", (p.folder / "run").string(), "--confirm"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("1 members have not ended yet and 0 failed"));
}

TEST_CASE("Seeds of sweep.confirm are no seeds of the sweep") {
  const auto error_of = [](const std::string& section) {
    return input_error([&] {
      YamlDocument::parse(small_run_yaml("nowhere") + "sweep: " + section, "x.yaml").sweep_config();
    });
  };
  CHECK_THAT(error_of("{seeds: [1, 2], confirm: {seeds: [3, 2]}}"),
             Contains("x.yaml:") && Contains("the seed 2 is one of sweep.seeds"));
  CHECK_THAT(error_of("{confirm: {seeds: [1]}}"), Contains("the seed 1 is one of sweep.seeds"));
  CHECK_THAT(error_of("{confirm: {seeds: [3, 3]}}"), Contains("the seed 3 stands in seeds twice"));
  CHECK_THAT(error_of("{confirm: [3]}"), Contains("sweep.confirm: a list is not a section"));
  CHECK_THAT(error_of("{confirm: {seed: [3]}}"), Contains("did you mean 'seeds'?"));
  CHECK(error_of("{confirm: {seeds: [3]}}") == "no error");
}

// No step, no evaluation and no choice may depend on it.
TEST_CASE("A test set changes nothing but the row of the test") {
  const SmallRunFolder with(5), without(5);
  fs::copy_file(with.folder / "validation.bin", with.folder / "test.bin");
  REQUIRE(
      with.run({"train", "--set", "data.test=" + (with.folder / "test.bin").string()}).exit_code ==
      0);
  REQUIRE(without.run({"train"}).exit_code == 0);
  const auto a = read_run(with.folder / "run/run.h5"), b = read_run(without.folder / "run/run.h5");
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) CHECK(a.steps[i].loss == b.steps[i].loss);
  REQUIRE(a.evaluations.size() == b.evaluations.size());
  CHECK(a.evaluations.back().loss == b.evaluations.back().loss);
  CHECK(!b.test);
  REQUIRE(a.test);
  // The validation takes the first 16 windows of the same tokens, the test all 93: near, not equal.
  CHECK(std::abs(a.test->loss - a.evaluations.back().loss) < 0.2);
  CHECK(a.test->loss != a.evaluations.back().loss);
  CHECK(a.test->step == 5);
  const auto again =
      with.run({"train", "--set", "data.test=" + (with.folder / "train.bin").string()});
  CHECK(again.exit_code == 2);
  CHECK_THAT(again.errors,
             Contains("is in the training files") && Contains("which no choice may see"));
}

TEST_CASE("A run without a test set has the hash that it had before there were such") {
  const auto yaml = small_run_yaml("nowhere");
  auto config = YamlDocument::parse(yaml, "x").run_config();
  const auto text = to_yaml(config);
  CHECK_THAT(text, Contains("  test: \"\"\n"));
  auto document = YamlDocument::parse(yaml, "x");
  document.set("data.test=elsewhere.bin");
  CHECK(config_hash(document.run_config()) != config_hash(config));
}

TEST_CASE("A partition file says on which seeds it was found, and a run that takes it records it") {
  const SmallRunFolder small(4, "discovery: {objective: energy, max_state: 0.5, vectors: 2}\n");
  const auto found = small.folder / "found";
  const auto partition = small.run({"partition", "--output", found.string(), "--set", "seed=5",
                                    "--set", "hessian.batches=1", "--set", "hessian.batch_size=2"});
  INFO(partition.errors);
  REQUIRE(partition.exit_code == 0);
  const auto file = (found / "partition.yaml").string();
  OptimizerConfig optimizer;
  optimizer.partition.file = file;
  CHECK(found_on_seeds(optimizer) == std::vector<std::int64_t>{5});
  REQUIRE(small.run({"train", "--set", "optimizer.partition.file=" + file}).exit_code == 0);
  CHECK(read_run(small.folder / "run/run.h5").found_on == std::vector<std::int64_t>{5});
  CHECK(seeds_from_text("1, 2, 30") == std::vector<std::int64_t>{1, 2, 30});
  CHECK(seeds_from_text("1, x, ").size() == 1);
}
