// Sweeps whose file changes: members change as runs do, in what does not define them.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/config/config_keys.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/sweeps/sweep.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/other_values.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_sweep.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

const std::string kSweep = R"(sweep:
  seeds: [1, 2]
  groups:
    - name: adamw
      set: {optimizer.rule: adamw}
)";

const std::string kFirst = "adamw-s1", kSecond = "adamw-s2", kThird = "adamw-s3";

struct Changing : SmallSweep {
  Changing() : SmallSweep(6, kSweep) {}

  // As a signal would have left it after three steps.
  void interrupt(const std::string& id) const {
    for (const auto step : checkpoint_steps(member(id))) {
      if (step > 3) fs::remove_all(checkpoint_folder(member(id), step));
    }
    auto recorder = RunRecorder::resume(run_file(id), result(id).config_hash, 3);
    recorder.set_status(RunState::interrupted, "by the test", 3);
    recorder.close();
  }
  ProgramResult changed(Words settings, bool dry = false) const {
    Words words;
    if (dry) words.emplace_back("--dry-run");
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    return sweep(words);
  }
  ConfigLines config_of(const std::string& id) const {
    return ConfigLines(read_text_file(member(id) / "config.yaml"));
  }
  // Each run is what the manifest says.
  void check_hashes() const {
    const auto all = manifest();
    for (const auto& entry : all["members"]) {
      const auto id = entry["id"].get<std::string>();
      INFO(id);
      CHECK(entry["config_hash"] == result(id).config_hash);
    }
    const auto text = report();
    CHECK(text.exit_code == 0);
    CHECK_THAT(text.output, !Contains("warning"));
  }
};

void check_same_losses(const RunResult& a, const RunResult& b) {
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) CHECK(a.steps[i].loss == b.steps[i].loss);
}

std::vector<std::string> changed_keys(const fs::path& run) {
  std::vector<std::string> keys;
  for (const auto& change : read_run_identity(run).history.changes) {
    if (change.key != "trainer.threads") keys.push_back(change.key);
  }
  return keys;
}

}  // namespace

TEST_CASE("A sweep's free keys change: finished members stay, others go on, as runs do") {
  const Changing c;
  REQUIRE(c.sweep().exit_code == 0);
  const auto whole = c.result(kSecond);
  const auto ended = fs::last_write_time(c.run_file(kFirst));
  c.interrupt(kSecond);
  fs::create_directories(c.folder / "elsewhere");
  for (const auto* file : {"train.bin", "validation.bin", "manifest.json"}) {
    fs::rename(c.folder / file, c.folder / "elsewhere" / file);
  }
  // Kinds: free, content, curvature, and a section of another command.
  const Changing::Words settings = {
      "trainer.evaluate_every=2",
      "trainer.checkpoint_every=1",
      "data.train=" + (c.folder / "elsewhere/train.bin").string(),
      "data.validation=" + (c.folder / "elsewhere/validation.bin").string(),
      "hessian.lanczos.steps=7",
      "search_lr.points=9",
      "sweep.seeds=[1, 2, 3]"};
  const auto dry = c.changed(settings, /*dry=*/true);
  CHECK(dry.exit_code == 0);
  CHECK_THAT(dry.errors, Contains("3 members, 1 of them new") &&
                             Contains("trainer.evaluate_every is 4 there and 2 here") &&
                             Contains("1 member has ended and stays as it is, 1 member goes on"));
  CHECK(c.config_of(kFirst).value("trainer.evaluate_every") == "4");
  const auto result = c.changed(settings);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains(sweep_counts(3)));
  CHECK_THAT(result.errors, Contains("1 member has ended and stays as it is"));
  CHECK(fs::last_write_time(c.run_file(kFirst)) == ended);
  CHECK(changed_keys(c.run_file(kFirst)).empty());
  const std::vector<std::string> keys = {"data.train",
                                         "data.validation",
                                         "trainer.evaluate_every",
                                         "trainer.checkpoint_every",
                                         "hessian.lanczos.steps",
                                         "search_lr.points"};
  CHECK(changed_keys(c.run_file(kSecond)) == keys);
  check_same_losses(c.result(kSecond), whole);
  for (const auto& id : {kFirst, kSecond, kThird}) {
    INFO(id);
    CHECK(c.config_of(id).value("trainer.evaluate_every") == "2");
    CHECK_THAT(c.config_of(id).value("data.train"), Contains("elsewhere/train.bin"));
  }
  c.check_hashes();
  // Once more, nothing is new.
  const auto again = c.changed(settings);
  CHECK(again.exit_code == 0);
  CHECK_THAT(again.errors, !Contains(" there and "));
}

TEST_CASE("A sweep grows in steps: its members go on as if they had had them from the start") {
  const Changing c, longer;
  const std::string constant = "schedule.name=constant", more = "trainer.steps=9";
  REQUIRE(longer.changed({constant, more}).exit_code == 0);
  REQUIRE(c.changed({constant}).exit_code == 0);
  CHECK_THAT(c.changed({constant, more}, /*dry=*/true).errors,
             Contains("trainer.steps is 6 there and 9 here: 2 members go on with it"));
  // Prepared, and stopped before anything ran: the members are not what they are to be.
  auto document = YamlDocument::load(c.config);
  for (const auto& setting : {constant, more}) document.set(setting);
  prepare_sweep(document);
  const auto before = c.report_json();
  CHECK(before["configurations"][0]["seeds_finished"] == 0);
  CHECK_THAT(c.report().output, !Contains("another configuration"));
  const auto result = c.changed({constant, more});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains(sweep_counts(2)));
  for (const auto& id : {kFirst, kSecond}) {
    check_same_losses(c.result(id), longer.result(id));
    CHECK(changed_keys(c.run_file(id)) == std::vector<std::string>{"trainer.steps"});
  }
  c.check_hashes();
  CHECK(c.report_json()["configurations"][0]["seeds_finished"] == 2);
  const auto less = c.changed({constant, "trainer.steps=8"});
  CHECK(less.exit_code == 2);
  CHECK_THAT(less.errors, Contains(kFirst) && Contains("trainer.steps is 9 there and 8 here") &&
                              Contains("it has done 9 steps"));
}

TEST_CASE("A sweep whose schedule depends on its length says so and goes on") {
  const Changing c;
  REQUIRE(c.sweep().exit_code == 0);
  const auto result = c.changed({"trainer.steps=8"});
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.errors,
             Contains(kFirst + ": the schedule 'cosine' depends on the run's length"));
  CHECK(c.result(kSecond).steps.size() == 8);
}

TEST_CASE("A sweep that gets a test set tests its finished members and trains none again") {
  const Changing c;
  REQUIRE(c.sweep().exit_code == 0);
  const auto before = c.result(kFirst);
  fs::copy_file(c.folder / "validation.bin", c.folder / "test.bin");
  const auto result = c.changed({"data.test=" + (c.folder / "test.bin").string()});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto after = c.result(kFirst);
  REQUIRE(after.test);
  CHECK(after.test->step == 6);
  check_same_losses(before, after);
  CHECK(after.steps.back().seconds == before.steps.back().seconds);
  c.check_hashes();
}

TEST_CASE("A sweep that is moved goes on in its new place") {
  const Changing c;
  REQUIRE(c.sweep().exit_code == 0);
  c.interrupt(kSecond);
  fs::rename(c.folder / "run", c.folder / "moved");
  const auto moved = (c.folder / "moved").string();
  const auto result = c.sweep({"--output", moved});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK(!fs::exists(c.folder / "run"));
  CHECK(read_run(c.folder / "moved/members" / kSecond / "run.h5").state == RunState::finished);
}

TEST_CASE("Other data under a sweep's names are noticed before a member starts") {
  const Changing c;
  REQUIRE(c.sweep().exit_code == 0);
  write_small_corpus(c.folder / "other", 8000);
  fs::copy_file(c.folder / "other/validation.bin", c.folder / "validation.bin",
                fs::copy_options::overwrite_existing);
  const auto result = c.changed({"sweep.seeds=[1, 2, 3]"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors,
             Contains("the member '" + kFirst + "'") && Contains("data.validation has changed: "));
  CHECK(!fs::exists(c.member(kThird)));
}

TEST_CASE("Confirmations of a sweep change with it") {
  const Changing c;
  const std::string confirm = "sweep.confirm={seeds: [11]}";
  REQUIRE(c.changed({confirm}).exit_code == 0);
  const auto ended = fs::last_write_time(c.run_file("adamw-s11"));
  const auto result = c.changed({confirm, "trainer.evaluate_every=2"});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK(fs::last_write_time(c.run_file("adamw-s11")) == ended);
  CHECK(c.config_of("adamw-s11").value("trainer.evaluate_every") == "2");
  CHECK(c.changed({confirm, "schedule.name=constant"}).exit_code == 2);
}

// One member that has ended, one that nobody started.
TEST_CASE("Each key of a configuration changes on a sweep as its kind says, or is named") {
  const Changing c;
  const Changing::Words mini = {"schedule.name=constant",
                                "sweep.groups=[{name: mini, set: {optimizer.rule: adam_mini}}]"};
  REQUIRE(c.changed({mini[0], mini[1], "sweep.seeds=[1]"}).exit_code == 0);
  const auto load = [&] {
    auto document = YamlDocument::load(c.config);
    for (const auto& setting : mini) document.set(setting);
    return document;
  };
  fs::copy_file(c.folder / "train.bin", c.folder / "moved.bin");
  fs::copy_file(c.folder / "validation.bin", c.folder / "moved_validation.bin");
  prepare_sweep(load());
  const std::map<std::string, std::string> values = {
      {"data.train", (c.folder / "moved.bin").string()},
      {"data.validation", (c.folder / "moved_validation.bin").string()},
      {"data.validations", fmt::format("{{more: {}}}", (c.folder / "moved.bin").string())},
      {"data.test", (c.folder / "moved_validation.bin").string()},
      {"schedule.steps", "60"},
      {"data.sequence_length", "32"},
      {"data.vocab_size", "65"},
      {"model.n_head", "1"},
      {"model.n_embd", "20"},
      {"search_lr.points", "7"},
      {"hessian.trace.products", "2"},
      {"trainer.global_batch_tokens", "256"},
      {"trainer.micro_batch_size", "2"},
      {"output", (c.folder / "run").string()},
      {"trainer.device", "auto"}};
  auto config = resolve(load().run_config()).config;
  OtherValues other;
  config.visit(other);
  std::map<KeyKind, int> tried, as_said;
  for (const auto& [key, value] : other.found) {
    if (key == "seed" || key == "optimizer.rule") continue;  // the sweep sets them
    if (key == "optimizer.partition.file" || key == "optimizer.block_lr") continue;  // no files
    const auto given = values.find(key);
    const auto error = input_error([&] {
      auto document = load();
      document.set(fmt::format("{}={}", key, given == values.end() ? value : given->second));
      plan_sweep(document);
    });
    INFO(key << "=" << value << ": " << error);
    const auto kind = key_kind(key);
    ++tried[kind];
    const bool refused = error.find("prepared with another configuration") != std::string::npos;
    const bool named = error.find(key + " is ") != std::string::npos;
    // What another key forbids is no refusal of a change, and of those there may be some.
    as_said[kind] += kind == KeyKind::defining ? refused && named : error == "no error";
    if (kind != KeyKind::defining) CHECK(!refused);
    if (kind == KeyKind::defining) CHECK(error != "no error");
  }
  for (const auto& [kind, count] : tried) {
    INFO(static_cast<int>(kind));
    CHECK(4 * as_said[kind] >= 3 * count);
  }
  CHECK(tried.size() == 5);
}
