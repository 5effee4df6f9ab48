// Test and validation sets of a run that goes on: they come, move and go, and no step changes.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

struct Sets : SmallRunFolder {
  Sets() : SmallRunFolder(8), kept(folder / "kept.bin") {
    fs::copy_file(folder / "validation.bin", kept);
  }
  ProgramResult train(const std::string& output, const std::vector<std::string>& settings) const {
    std::vector<std::string> words = {"train", "--output", (folder / output).string(), "--set",
                                      "schedule.name=constant"};
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    return run(words);
  }
  RunResult trained(const std::string& output, const std::vector<std::string>& settings) const {
    const auto result = train(output, settings);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_run(folder / output / "run.h5");
  }
  // "data.test=FILE" or the same file as the further validation set `more`.
  std::string setting(const std::string& key, const fs::path& file) const {
    return key == "data.test" ? "data.test=" + file.string()
                              : fmt::format("data.validations={{more: {}}}", file.string());
  }

  std::vector<ConfigChange> changes(const std::string& output) const {
    return read_run_identity(folder / output / "run.h5").history.changes;
  }

  fs::path kept;
};

void check_same_losses(const RunResult& a, const RunResult& b) {
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) CHECK(a.steps[i].loss == b.steps[i].loss);
  CHECK(a.evaluations.back().loss == b.evaluations.back().loss);
}

}  // namespace

TEST_CASE("A test set that a begun run gets is tested at its end, and no step changes",
          "[resume]") {
  const Sets s;
  const auto test = s.setting("data.test", s.kept);
  const auto whole = s.trained("whole", {test});
  REQUIRE(whole.test);
  const auto before = s.trained("run", {});
  CHECK(!before.test);
  const auto tested = s.trained("run", {test});
  REQUIRE(tested.test);
  CHECK(tested.state == RunState::finished);
  CHECK(tested.config_hash == before.config_hash);
  CHECK((tested.test->loss == whole.test->loss && tested.test->step == 8));
  check_same_losses(tested, whole);
  const auto changes = s.changes("run");
  REQUIRE(changes.size() == 1);
  CHECK((changes[0].key == "data.test" && changes[0].before == "\"\"" &&
         changes[0].after == s.kept.string() && changes[0].from_step == 9));
  // Once tested it is over, until it grows.
  const auto written = fs::last_write_time(s.folder / "run/run.h5");
  s.trained("run", {test});
  CHECK(fs::last_write_time(s.folder / "run/run.h5") == written);
  const auto grown = s.trained("run", {test, "trainer.steps=10"});
  REQUIRE(grown.test);
  CHECK(grown.test->step == 10);
  CHECK(grown.test->loss != tested.test->loss);
}

TEST_CASE("A validation set that a begun run gets, or loses, has no numbers where it was not") {
  const Sets s;
  const auto more = s.setting("data.validations", s.kept);
  const auto whole = s.trained("whole", {"trainer.steps=12", more});
  s.trained("run", {});
  const auto grown = s.trained("run", {"trainer.steps=12", more});
  check_same_losses(grown, whole);
  CHECK(grown.validation_names == std::vector<std::string>{"more"});
  REQUIRE(grown.named_losses.size() == whole.named_losses.size());
  for (std::size_t i = 0; i < grown.evaluations.size(); ++i) {
    INFO(grown.evaluations[i].step);
    const auto loss = grown.named_losses[i].at(0);
    if (grown.evaluations[i].step <= 8) CHECK(std::isnan(loss));
    if (grown.evaluations[i].step > 8) CHECK(loss == whole.named_losses[i].at(0));
  }
  const auto other = fmt::format("data.validations={{other: {}}}", s.kept.string());
  const auto last = s.trained("run", {"trainer.steps=16", other});
  CHECK(last.validation_names == std::vector<std::string>{"more", "other"});
  REQUIRE(last.evaluations.back().step == 16);
  CHECK(std::isnan(last.named_losses.back().at(0)));
  CHECK(last.named_losses.back().at(1) == last.evaluations.back().loss);
}

TEST_CASE("A validation set that a finished run gets is evaluated by its last weights") {
  const Sets s;
  const auto more = s.setting("data.validations", s.kept);
  const auto whole = s.trained("whole", {more});
  const auto before = s.trained("run", {});
  const auto after = s.trained("run", {more});
  CHECK(after.state == RunState::finished);
  check_same_losses(after, whole);
  REQUIRE(after.evaluations.size() == before.evaluations.size());
  REQUIRE(after.named_losses.size() == after.evaluations.size());
  CHECK(after.named_losses.back().at(0) == whole.named_losses.back().at(0));
  CHECK(std::isnan(after.named_losses.front().at(0)));
  // Then it is over.
  const auto written = fs::last_write_time(s.folder / "run/run.h5");
  s.trained("run", {more});
  CHECK(fs::last_write_time(s.folder / "run/run.h5") == written);
}

TEST_CASE("A finished run is known by where its data lie now, and by the intervals it was given") {
  const Sets s;
  s.trained("run", {s.setting("data.test", s.kept)});
  const auto moved = s.folder / "moved.bin";
  fs::rename(s.kept, moved);
  s.trained("run", {s.setting("data.test", moved), "trainer.evaluate_every=3"});
  const auto yaml = read_text_file(s.folder / "run/config.yaml");
  CHECK_THAT(yaml, Contains("test: " + moved.string()) && Contains("evaluate_every: 3"));
  CHECK(read_run(s.folder / "run/run.h5").config_yaml == yaml);
  const auto changes = s.changes("run");
  CHECK(std::ranges::count(changes, "data.test", &ConfigChange::key) == 1);
  CHECK(std::ranges::count(changes, "trainer.evaluate_every", &ConfigChange::key) == 1);
}

TEST_CASE("Test and validation sets are known by their content, whatever they are called") {
  const Sets s;
  const std::string key = GENERATE("data.test", "data.validations");
  INFO(key);
  s.trained("run", {s.setting(key, s.kept)});
  const auto moved = s.folder / "moved.bin";
  fs::rename(s.kept, moved);
  s.trained("run", {s.setting(key, moved), "trainer.steps=10"});
  const auto changes = s.changes("run");
  CHECK(std::ranges::count(changes, key, &ConfigChange::key) == 1);
  std::fstream stream(moved, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(1024);
  stream.put('\x3f').put('\0');
  stream.close();
  const auto result = s.train("run", {s.setting(key, moved), "trainer.steps=12"});
  CHECK(result.exit_code == 2);
  const auto named = key == "data.test" ? key : key + ".more";
  CHECK_THAT(result.errors, Contains(named + " has changed: ") && Contains("moved.bin had ") &&
                                Contains("SHA-256"));
  CHECK(read_run(s.folder / "run/run.h5").last_step == 10);
}

TEST_CASE("A fork with a test set of its own goes on in the data where the other run was") {
  const Sets s;
  s.trained("run", {});
  const auto result = s.run({"train", "--from", (s.folder / "run").string(), "--output",
                             (s.folder / "fork").string(), "--set", "schedule.name=constant",
                             "--set", "trainer.steps=12", "--set", "data.test=" + s.kept.string()});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.errors, !Contains("from their first example"));
  const auto fork = read_run(s.folder / "fork/run.h5");
  const auto whole = s.trained("whole", {"trainer.steps=12"});
  CHECK(fork.steps.back().loss == whole.steps.back().loss);
  CHECK(fork.test.has_value());
}

TEST_CASE("A fork goes on when the run that it was started from is gone", "[resume]") {
  const Sets s;
  for (const std::string from : {"run", "run/checkpoints/step_00000008"}) {
    INFO(from);
    s.trained("run", {});
    const auto fork = [&](const std::string& origin, const std::string& steps) {
      return s.run({"train", "--from", (s.folder / origin).string(), "--output",
                    (s.folder / "fork").string(), "--set", "schedule.name=constant", "--set",
                    "trainer.steps=" + steps});
    };
    REQUIRE(fork(from, "10").exit_code == 0);
    fs::remove_all(s.folder / "run");
    const auto other = fork("other", "12");
    CHECK(other.exit_code == 2);
    CHECK_THAT(other.errors, Contains("was started from") && Contains("not from"));
    const auto result = fork(from, "12");
    INFO(result.errors);
    CHECK(result.exit_code == 0);
    CHECK(read_run(s.folder / "fork/run.h5").last_step == 12);
    fs::remove_all(s.folder / "fork");
  }
}

TEST_CASE("A shard whose name is no UTF-8 is trained on, and its run goes on", "[resume]") {
  const Sets s;
  const auto shards = s.folder / "shards";
  fs::create_directories(shards);
  fs::copy_file(s.folder / "train.bin", shards / "caf\xe9.bin");
  const std::vector<std::string> more = {"data.train=" + shards.string(), "data.vocab_size=64"};
  CHECK(s.trained("run", more).last_step == 8);
  auto longer = more;
  longer.emplace_back("trainer.steps=10");
  CHECK(s.trained("run", longer).last_step == 10);
}

TEST_CASE("A run that only evaluates says the loss of its last step", "[resume]") {
  const Sets s;
  const auto before = s.trained("run", {});
  const auto result = s.run({"train", "--output", (s.folder / "run").string(), "--json", "--set",
                             "schedule.name=constant", "--set", "data.test=" + s.kept.string()});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK(nlohmann::json::parse(result.output)["training_loss"] == before.steps.back().loss);
}
